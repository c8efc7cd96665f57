"""The masked auto-encoder: what is blanked reaches no map, and only what is blanked is paid for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage, Training
from sg_bench.methods.configs import MaskedAutoencoderConfig
from sg_bench.methods.masked_autoencoder import MaskedAutoencoder, MaskedUNet, normalised, on_grid, patches
from sg_bench.training.pretraining import fresh_network
from sg_bench.transforms.base import sample_batch

STAGE = Stage(name="pretrain", training=Training(), weights={"restoration": 1.0})
SIZES: list[tuple[int, Shape]] = [(3, (16, 16, 16)), (2, (128, 128, 1)), (3, (16, 16, 8)), (2, (64, 64, 1))]
"""The first two have patches as large as the encoder's stride, the others smaller ones."""
sizes = pytest.mark.parametrize(("dimension", "shape"), SIZES)


def setting(dimension: int, shape: Shape) -> tuple[MaskedAutoencoder, MaskedUNet, Tensor, Tensor]:
    """Return a method, its network, two images and which of their patches are visible."""
    method = MaskedAutoencoder(MaskedAutoencoderConfig.model_validate({"dimension": dimension, "width": 2}))
    network = fresh_network(method, 0)
    assert isinstance(network, MaskedUNet)
    images = torch.from_numpy(np.random.default_rng(0).random((2, 1, *shape), np.float32))
    keys = range(2)
    return method, network, images, sample_batch(method.masking, keys, shape)["visible"]


@sizes
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_what_is_blanked_influences_no_feature_bit_for_bit(dimension: int, shape: Shape, training: bool) -> None:
    method, network, images, visible = setting(dimension, shape)
    network.train(training)
    other = torch.where(method.masking.voxels(visible, shape), images, 1 - images)
    assert not torch.equal(other, images)
    with torch.no_grad():
        maps, same = network.features(images, visible), network.features(other, visible)
    assert all(torch.equal(a, b) for a, b in zip(maps, same, strict=True))


@sizes
def test_every_map_is_zero_at_blanked_places_and_alive_elsewhere(dimension: int, shape: Shape) -> None:
    _, network, images, visible = setting(dimension, shape)
    for found in network.train().features(images, visible):
        shown = on_grid(visible, found).expand_as(found)
        assert (found[~shown] == 0).all()
        assert (found[shown] != 0).float().mean() > 0.2


@pytest.mark.parametrize(("dimension", "shape"), SIZES[:2])
def test_the_mask_is_as_large_at_every_depth(dimension: int, shape: Shape) -> None:
    _, network, images, visible = setting(dimension, shape)
    shares = [on_grid(visible, found).float().mean().item() for found in network.features(images, visible)]
    assert shares == pytest.approx([visible.float().mean().item()] * len(shares))


def test_a_coarse_place_counts_as_blanked_only_where_all_of_it_is() -> None:
    visible = torch.zeros(1, 4, 4, 1, dtype=torch.bool)
    visible[0, 0, 1] = True
    assert on_grid(visible, torch.zeros(1, 3, 2, 2)).flatten().tolist() == [True, False, False, False]
    assert on_grid(visible, torch.zeros(1, 3, 8, 8))[0, 0].nonzero().tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]


@sizes
def test_nothing_stays_masked_afterwards(dimension: int, shape: Shape) -> None:
    _, network, images, visible = setting(dimension, shape)
    network.eval()
    before = network.backbone(images)
    network.features(images, visible)
    assert torch.equal(network.backbone(images), before)


@sizes
def test_only_blanked_patches_are_paid_for(dimension: int, shape: Shape) -> None:
    method, network, images, visible = setting(dimension, shape)
    network.eval()
    whole = method.make_batch(images, torch.zeros(2), {"visible": visible})
    shown = method.masking.voxels(visible, shape)
    noise = torch.from_numpy(np.random.default_rng(1).random(images.shape, np.float32))
    costs = []
    for changed in (torch.zeros_like(shown), shown, ~shown):
        targets = torch.where(changed, noise, images)
        batch = type(whole)(whole.inputs, targets, whole.labels, whole.answers)
        costs.append(method.losses(network, batch, STAGE).terms["restoration"].item())
    assert costs[0] == costs[1] != costs[2]


def test_a_prediction_of_zero_costs_the_variance_of_normalised_patches_which_is_one() -> None:
    method, network, images, visible = setting(3, (16, 16, 16))
    nn.init.zeros_(network.backbone.get_parameter("out_tr.final_conv.weight"))
    batch = method.make_batch(images, torch.zeros(2), {"visible": visible})
    assert method.losses(network, batch, STAGE).terms["restoration"].item() == pytest.approx(1, abs=1e-3)


def test_patches_are_normalised_one_by_one() -> None:
    image = torch.tensor([[0.0, 2, 5, 5], [0, 2, 5, 5]]).view(1, 1, 2, 4, 1)
    found = normalised(patches(image, (2, 2, 1)))
    assert found.shape == (1, 1, 2, 1, 4)
    np.testing.assert_allclose(found.flatten(), [-1, 1, -1, 1, 0, 0, 0, 0], atol=1e-5)


def test_without_a_mask_patches_of_nothing_but_zeros_count_as_blanked() -> None:
    method, network, images, visible = setting(3, (16, 16, 16))
    batch = method.make_batch(images, torch.zeros(2), {"visible": visible})
    network.eval()
    assert torch.equal(network(batch.inputs), network(batch.inputs, visible))


def test_learned_vectors_fill_the_blanked_places_before_the_decoder() -> None:
    method, network, images, visible = setting(3, (16, 16, 16))
    network.eval()
    before = network(images, visible)
    with torch.no_grad():
        network.embeddings[-1] += 1
    assert not torch.equal(network(images, visible), before)
    method.losses(network, method.make_batch(images, torch.zeros(2), {"visible": visible}), STAGE).terms[
        "restoration"
    ].backward()
    assert all(vector.grad is not None and vector.grad.abs().sum() > 0 for vector in network.embeddings)
