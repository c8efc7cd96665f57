from __future__ import annotations

import pytest
import torch
from torch import nn

from sg_bench.config import SpatialDims
from sg_bench.networks.build import ynet
from sg_bench.networks.configs import papers_network
from sg_bench.networks.memory import channels_last


def test_images_of_two_and_three_dimensions_get_their_channels_last() -> None:
    flat, deep = channels_last(torch.rand(2, 3, 4, 5)), channels_last(torch.rand(2, 3, 4, 5, 6))
    assert flat.stride()[1] == deep.stride()[1] == 1
    assert (flat.shape, deep.shape) == ((2, 3, 4, 5), (2, 3, 4, 5, 6))


def test_tensors_of_other_numbers_of_axes_are_left_as_they_are() -> None:
    vector = torch.rand(3)
    assert channels_last(vector) is vector


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_networks_parameters_stay_the_same_objects_with_the_same_values(dimension: SpatialDims) -> None:
    network = ynet(papers_network(dimension, 2), 3)
    before, values = list(network.parameters()), [p.detach().clone() for p in network.parameters()]
    assert channels_last(network) is network
    for parameter, same, value in zip(network.parameters(), before, values, strict=True):
        assert parameter is same
        assert torch.equal(parameter, value)
        assert parameter.dim() < 4 or parameter.shape[1] == 1 or parameter.stride()[1] == 1


def test_a_network_may_hold_weights_of_both() -> None:
    flat, deep = nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3)
    channels_last(nn.Sequential(flat, deep))
    assert flat.weight.stride()[1] == deep.weight.stride()[1] == 1
