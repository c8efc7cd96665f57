"""Glorot weights: bounded, reproducible, and drawn from the given generator alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sg_bench.networks.heads import Classifier
from sg_bench.networks.initialise import glorot_, glorot_bound
from sg_bench.networks.unet import Encoder3D, YNet3D


def drawn(seed: int = 0) -> dict[str, torch.Tensor]:
    return glorot_(YNet3D(4, 3), torch.Generator().manual_seed(seed)).state_dict()


@pytest.mark.parametrize(
    ("layer", "fans"),
    [
        (nn.Conv3d(4, 6, 3), 27 * (4 + 6)),
        (nn.ConvTranspose3d(4, 6, 2), 8 * (4 + 6)),
        (nn.Conv2d(4, 6, 5), 25 * (4 + 6)),
        (nn.Linear(4, 6), 4 + 6),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_bound_is_the_root_of_six_over_both_fans(layer: nn.Conv3d, fans: int) -> None:
    assert glorot_bound(layer.weight) == pytest.approx(math.sqrt(6 / fans))


def test_weights_fill_their_bounds_and_no_more() -> None:
    network = glorot_(YNet3D(8, 3), torch.Generator().manual_seed(0))
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d, nn.Linear)):
            bound = glorot_bound(module.weight)
            assert module.weight.abs().max() <= bound * (1 + 1e-6)
            assert module.bias is not None
            assert not module.bias.any()
            if module.weight.numel() > 5000:
                assert module.weight.abs().max() > 0.99 * bound
                assert module.weight.detach().std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_batch_norm_starts_afresh() -> None:
    network = Encoder3D(2)
    network(torch.rand(2, 1, 16, 16, 8))
    for parameter in network.parameters():
        parameter.data.fill_(7)
    state = glorot_(network, torch.Generator()).state_dict()
    for name, tensor in state.items():
        if ".bn1." in name:
            assert torch.equal(tensor, torch.full_like(tensor, name.endswith(("weight", "running_var")))), name


def test_one_seed_gives_one_network_and_another_seed_another() -> None:
    first, again, other = drawn(), drawn(), drawn(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["clc_out.fc1.weight"], other["clc_out.fc1.weight"])


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    network = Classifier(Encoder3D(2), 1)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = glorot_(network, torch.Generator().manual_seed(5)).output.weight.clone()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first, glorot_(network, torch.Generator().manual_seed(5)).output.weight)
