"""Every registered network: its maps, decoder, gradients, state and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sg_bench.config import SpatialDims
from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone
from sg_bench.networks.build import encoder, unet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.decoder import UNetDecoder, decoder_steps, on_axes
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.weights import split_state
from sg_bench.registry import NETWORKS
from sg_bench.testing.networks import check_network

SMALL: dict[str, dict[str, Any]] = {
    "dense_vnet": {"width": 2, "growth": (1, 1, 1), "layers": (1, 2, 1), "skips": (1, 2, 1)},
    "i3d": {"width": 4},
    "medicalnet": {"depth": 10},
    "resenc_unet": {"width": 2, "blocks": (1, 2, 1)},
    "resnet18": {"width": 1},
    "swin_unetr": {"feature_size": 4, "depths": (2, 1), "heads": (1, 2), "window": 2},
    "unet3d": {"width": 1},
    "vit": {"patch": 8, "width": 24, "depth": 3, "heads": 2},
}
CASES = [
    (name, dimension)
    for name in NETWORKS.names()
    for dimension in sorted(NETWORKS.config(name).dimensions)  # type: ignore[attr-defined]  # a network's config
]


def small(name: str, dimension: int, **settings: Any) -> NetworkChoice:
    config = {**SMALL.get(name, {}), "dimension": dimension, **settings}
    return NetworkChoice.model_validate({"name": name, "config": config})


def drawn(network: Any) -> Any:
    return glorot_(network, torch.Generator().manual_seed(0)).train()


@pytest.mark.parametrize(("name", "dimension"), CASES)
def test_a_network_keeps_the_contract(name: str, dimension: int) -> None:
    shape = (32, 32, 1) if dimension == 2 else (32, 32, 8)
    check_network(name, dimension, SMALL.get(name), shape=shape)


@pytest.mark.parametrize(("name", "dimension"), CASES)
def test_images_of_more_channels_enter_where_the_network_is_made_for_them(name: str, dimension: int) -> None:
    network = drawn(encoder(small(name, dimension, in_channels=2)))
    sides = (32, 32, 1) if dimension == 2 else (32, 32, 8)
    assert network.features(torch.rand(2, 2, *sides))[-1].shape[:2] == (2, network.channels[-1])
    with pytest.raises(MethodError, match=r"takes? \(B, 2, X, Y"):
        network.features(torch.rand(2, 1, *sides))


@pytest.mark.parametrize("name", ["medicalnet", "resenc_unet", "swin_unetr", "unet3d"])
def test_without_skips_a_decoder_sees_the_coarsest_map_alone(name: str) -> None:
    network = drawn(unet(small(name, 3), skips=False)).eval()
    with torch.no_grad():
        maps = network.features(torch.rand(1, 1, 16, 16, 8))
        other = [torch.rand_like(each) for each in maps[:-1]]
        assert torch.equal(network.decode(maps), network.decode([*other, maps[-1]]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense_vnet", "i3d", "resenc_unet", "swin_unetr", "vit"])
def test_a_network_can_be_traced_for_compilation_as_a_whole(name: str) -> None:
    network, x = drawn(unet(small(name, 3))).eval(), torch.rand(1, 1, 32, 32, 8)
    compiled = torch.compile(network, backend="eager")
    with torch.no_grad():
        assert torch.allclose(compiled(x), network(x), atol=1e-6)


def expected(side: int, stride: int) -> int:
    return -(-side // stride)


def without_gradient(network: nn.Module) -> list[str]:
    named = network.named_parameters()
    return [name for name, each in named if each.grad is None or not each.grad.abs().max()]


class TestDecoder:
    @pytest.mark.parametrize(
        ("dimension", "strides", "sides"),
        [
            (3, (1, 2, 4), (9, 7, 5)),
            (3, (4, 8, 8), (13, 9, 10)),
            (3, ((2, 2, 1), (8, 8, 2)), (17, 16, 3)),
            (2, (2, 4, 16), (33, 21)),
            (2, (14,), (28, 30)),
            (2, (3, 12), (25, 12)),
        ],
    )
    def test_it_reaches_the_image_from_any_strides_and_sizes(
        self, dimension: SpatialDims, strides: tuple[Any, ...], sides: tuple[int, ...]
    ) -> None:
        channels = tuple(4 * (place + 1) for place in range(len(strides)))
        maps = [
            torch.rand(
                2, count, *(expected(side, own) for side, own in zip(sides, on_axes(stride, dimension), strict=True))
            )
            for count, stride in zip(channels, strides, strict=True)
        ]
        decoder = drawn(UNetDecoder(dimension, channels, strides))
        found = decoder(maps)
        finest = on_axes(strides[0], dimension)
        assert found.shape[:2] == (2, decoder.channels)
        assert list(found.shape[2:]) == [expected(side, own) * own for side, own in zip(sides, finest, strict=True)]
        found.square().sum().backward()
        assert without_gradient(decoder) == []

    def test_missing_levels_halve_the_stride_and_the_channels(self) -> None:
        steps = decoder_steps((32, 64), [(4, 4), (16, 16)], 320)
        assert [(step.factor, step.skip, step.outputs) for step in steps] == [
            ((2, 2), 0, 32),
            ((2, 2), 32, 32),
            ((2, 2), 0, 16),
            ((2, 2), 0, 8),
        ]

    def test_no_step_is_wider_than_the_most(self) -> None:
        assert [step.outputs for step in decoder_steps((64, 512), [(1,), (2,)], 48)] == [48]


class Halving(Backbone):
    """The least that another package has to write."""

    strides = (2,)

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.channels = (4,)
        self.stem = nn.Conv3d(1, 4, 2, stride=2)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.stem(x)]


def test_a_backbone_of_one_convolution_gets_a_decoder_a_head_and_its_own_names() -> None:
    network = Halving.build_ynet(None, 5)
    x = torch.rand(2, 1, 4, 6, 8)
    restored, logits = network(x)
    assert (restored.shape, logits.shape) == (x.shape, (2, 5))
    assert split_state(network)[0].keys() == {"stem.weight", "stem.bias"}
