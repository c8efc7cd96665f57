"""The network of each task, and what stays still in one whose backbone is frozen."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sg_bench.config import SpatialDims
from sg_bench.networks.build import encoder, task_model, unet
from sg_bench.networks.configs import papers_network
from sg_bench.networks.heads import Classifier, LightSegmenter, Segmenter, TaskModel
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.norm import reestimate
from sg_bench.networks.weights import load_into, split_state

INPUTS = {2: (2, 1, 64, 64, 1), 3: (2, 1, 16, 16, 8)}
KINDS = ("classification", "segmentation")
dimensions = pytest.mark.parametrize("dimension", [2, 3])
kinds = pytest.mark.parametrize("kind", KINDS)


def images(dimension: SpatialDims, seed: int = 0) -> Tensor:
    return torch.rand(INPUTS[dimension], generator=torch.Generator().manual_seed(seed))


def model(dimension: Any, kind: Any, **settings: Any) -> TaskModel:
    return glorot_(task_model(papers_network(dimension, 4), kind, **settings), torch.Generator().manual_seed(0))


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("dimension", "kind", "frozen"), list(itertools.product([2, 3], KINDS, [False, True])))
def test_logits_stand_for_images_or_for_voxels(dimension: SpatialDims, kind: str, frozen: bool) -> None:
    logits = model(dimension, kind, outputs=3, frozen=frozen)(images(dimension))
    assert logits.shape == ((2, 3) if kind == "classification" else (2, 3, *INPUTS[dimension][2:]))
    assert logits.requires_grad


@pytest.mark.parametrize(
    ("dimension", "settings", "hidden"),
    [
        (3, {}, True),
        (2, {}, False),
        (3, {"frozen": True}, False),
        (2, {"frozen": True}, False),
        (2, {"hidden": True}, True),
        (3, {"hidden": False}, False),
        (3, {"frozen": True, "hidden": True}, True),
    ],
)
def test_a_hidden_layer_stands_in_3d_unless_frozen_or_told_otherwise(
    dimension: SpatialDims, settings: dict[str, bool], hidden: bool
) -> None:
    network = model(dimension, "classification", **settings)
    assert isinstance(network, Classifier)
    assert (network.hidden is not None) == hidden


@dimensions
def test_classification_and_probes_hold_no_decoder_that_nothing_would_train(dimension: SpatialDims) -> None:
    wanted = encoder(papers_network(dimension, 4)).state_dict().keys()
    for kind, frozen in (("classification", False), ("classification", True), ("segmentation", True)):
        assert model(dimension, kind, frozen=frozen).backbone.state_dict().keys() == wanted
    assert isinstance(model(dimension, "segmentation"), Segmenter)


@dimensions
@kinds
def test_a_frozen_backbone_stays_bit_for_bit_while_its_head_learns(dimension: SpatialDims, kind: str) -> None:
    network = model(dimension, kind, frozen=True).train()
    before = copy.deepcopy(network.state_dict())
    optimiser = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), lr=0.1)
    for seed in range(2):
        optimiser.zero_grad()
        network(images(dimension, seed)).square().mean().backward()
        optimiser.step()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("backbone."), name
    assert all(parameter.grad is None for parameter in network.backbone.parameters())


@dimensions
def test_a_frozen_backbone_stays_in_evaluation_whatever_its_head_does(dimension: SpatialDims) -> None:
    network = model(dimension, "segmentation", frozen=True)
    for mode in (True, False, True):
        network.train(mode)
        assert network.training == mode
        assert not any(module.training for module in network.backbone.modules())
    assert all(module.training for module in model(dimension, "segmentation").train().modules())


@dimensions
@kinds
def test_the_statistics_of_a_frozen_backbone_can_be_reestimated(dimension: SpatialDims, kind: str) -> None:
    network = model(dimension, kind, frozen=True).train()
    before = copy.deepcopy(network.state_dict())
    reestimate(network, [images(dimension, seed) for seed in range(3)], "cpu")
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.rsplit(".", 1)[1] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}
    assert not any(module.training for module in network.backbone.modules())


@dimensions
def test_the_light_decoder_has_under_a_twentieth_of_the_backbones_parameters(dimension: SpatialDims) -> None:
    for width in (2, 4, 32):
        with torch.device("meta"):
            network = LightSegmenter(encoder(papers_network(dimension, width)), 1)
        assert trainable(network) < 0.05 * sum(p.numel() for p in network.backbone.parameters())


@dimensions
def test_the_light_decoder_sees_every_map(dimension: SpatialDims) -> None:
    network = model(dimension, "segmentation", frozen=True).eval()
    assert isinstance(network, LightSegmenter)
    x = images(dimension)
    reestimate(network, [x], "cpu")
    whole = network(x)
    for weight in network.lateral.parameters():
        if weight.dim() > 1:  # no bias
            kept = weight.detach().clone()
            nn.init.zeros_(weight)
            assert not torch.allclose(network(x), whole)
            weight.data = kept


@dimensions
def test_the_light_decoder_learns_to_tell_bright_from_dark(dimension: SpatialDims) -> None:
    network, x = model(dimension, "segmentation", frozen=True).train(), images(dimension)
    x[:, :, : x.shape[2] // 2] *= 0.2
    reestimate(network, [x], "cpu")
    truth = torch.zeros_like(x)
    truth[:, :, x.shape[2] // 2 :] = 1
    optimiser = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), lr=0.03)
    for _ in range(60):
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(x), truth)
        loss.backward()
        optimiser.step()
    assert ((network(x) > 0) == truth.bool()).float().mean() > 0.9


@dimensions
def test_an_initialisation_loads_into_a_frozen_backbone_completely(dimension: SpatialDims) -> None:
    parts = split_state(unet(papers_network(dimension, 4)))
    network = model(dimension, "segmentation", frozen=True)
    report = load_into(network.backbone, *parts, need_decoder=False)
    assert (len(report.matched), len(report.unused)) == (len(parts[0]), len(parts[1]))
    assert (report.missing, report.decoder) == ((), "not needed")
