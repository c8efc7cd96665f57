"""Every registered network: its maps, decoder, gradients, state and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sg_bench.config import SpatialDims
from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone
from sg_bench.networks.build import encoder, task_model, unet, ynet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.decoder import UNetDecoder, decoder_steps, on_axes
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.weights import load_into, split_state
from sg_bench.registry import NETWORKS

SMALL: dict[str, dict[str, Any]] = {
    "i3d": {"width": 4},
    "medicalnet": {"depth": 10},
    "resenc_unet": {"width": 2, "blocks": (1, 2, 1)},
    "resnet18": {"width": 1},
    "swin_unetr": {"feature_size": 4, "depths": (2, 1), "heads": (1, 2), "window": 2},
    "unet3d": {"width": 1},
    "vit": {"patch": 8, "width": 24, "depth": 3, "heads": 2},
}
SIDES = {2: (32, 64, 1), 3: (32, 32, 16)}
CASES = [
    (name, dimension)
    for name in NETWORKS.names()
    for dimension in sorted(NETWORKS.config(name).dimensions)  # type: ignore[attr-defined]  # a network's config
]
every = pytest.mark.parametrize(("name", "dimension"), CASES)


def small(name: str, dimension: int, **settings: Any) -> NetworkChoice:
    config = {**SMALL.get(name, {}), "dimension": dimension, **settings}
    return NetworkChoice(name=name, config=config)  # type: ignore[arg-type]  # validated by its name


def images(dimension: int, channels: int = 1) -> Tensor:
    return torch.rand(2, channels, *SIDES[dimension], generator=torch.Generator().manual_seed(0))


def drawn(network: Any) -> Any:
    return glorot_(network, torch.Generator().manual_seed(0)).train()


def expected(side: int, stride: int) -> int:
    return -(-side // stride)


def without_gradient(network: nn.Module) -> list[str]:
    named = network.named_parameters()
    return [name for name, each in named if each.grad is None or not each.grad.abs().max()]


@every
def test_maps_have_the_declared_channels_and_strides(name: str, dimension: int) -> None:
    network, x = drawn(encoder(small(name, dimension))), images(dimension)
    maps = network.features(x)
    assert len(maps) == len(network.channels) == len(network.strides)
    for found, channels, stride in zip(maps, network.channels, network.strides, strict=True):
        sides = [expected(side, own) for side, own in zip(x.shape[2:], on_axes(stride, dimension), strict=False)]
        assert found.shape == (2, channels, *sides)
    assert torch.equal(network(x), network.features(x)[-1])


@every
def test_every_parameter_gets_a_gradient_from_what_its_network_returns(name: str, dimension: int) -> None:
    choice, x = small(name, dimension), images(dimension)
    alone = drawn(encoder(choice))
    alone.features(x)[-1].square().sum().backward()
    assert without_gradient(alone) == []
    whole = drawn(unet(choice))
    restored = whole(x)
    assert restored.shape == x.shape
    (restored - x).square().sum().backward()
    dead = [each for each in without_gradient(whole) if not each.endswith("bias")]  # of a norm behind it
    assert dead == []


@every
def test_the_encoder_of_a_unet_is_that_of_the_encoder_alone(name: str, dimension: int) -> None:
    choice, x = small(name, dimension), images(dimension)
    whole, alone = drawn(unet(choice)).eval(), encoder(choice).eval()
    first, second = split_state(whole)
    assert first.keys() == alone.state_dict().keys()
    assert second
    assert not {*first} & {*second}
    report = load_into(alone, first, second, need_decoder=False)
    assert (report.missing, report.decoder) == ((), "not needed")
    with torch.no_grad():
        for mine, theirs in zip(alone.features(x), whole.features(x), strict=True):
            assert torch.equal(mine, theirs)
    again = unet(choice).eval()
    assert load_into(again, first, second, need_decoder=True).decoder == "loaded"
    with torch.no_grad():
        assert torch.equal(again(x), whole(x))


@every
def test_a_pattern_head_is_no_part_of_the_initialisation(name: str, dimension: int) -> None:
    choice, x = small(name, dimension), images(dimension)
    network = drawn(ynet(choice, 3))
    restored, logits = network(x)
    assert restored.shape == x.shape
    assert logits.shape == (2, 3)
    parts = split_state(network)
    assert {**parts[0], **parts[1]}.keys() == unet(choice).state_dict().keys()


@every
def test_without_skips_a_decoder_sees_the_coarsest_map_alone(name: str, dimension: int) -> None:
    if name == "vit":
        pytest.skip("all maps of a transformer are at its bottleneck")
    network = drawn(unet(small(name, dimension), skips=False)).eval()
    with torch.no_grad():
        maps = network.features(images(dimension))
        other = [torch.rand_like(each) for each in maps[:-1]]
        assert torch.equal(network.decode(maps), network.decode([*other, maps[-1]]))


@every
def test_images_of_more_channels_enter_where_the_network_is_made_for_them(name: str, dimension: int) -> None:
    network = drawn(encoder(small(name, dimension, in_channels=2)))
    assert network.in_channels == 2
    assert network.features(images(dimension, 2))[-1].shape[:2] == (2, network.channels[-1])
    with pytest.raises((MethodError, RuntimeError)):
        network.features(images(dimension, 4))


@every
def test_a_network_classifies_and_segments(name: str, dimension: int) -> None:
    choice, x = small(name, dimension), images(dimension)
    assert task_model(choice, "classification", 3).eval()(x).shape == (2, 3)
    assert task_model(choice, "segmentation", 2).eval()(x).shape == (2, 2, *x.shape[2:])
    assert task_model(choice, "segmentation", 2, frozen=True).eval()(x).shape == (2, 2, *x.shape[2:])


@every
def test_sizes_that_a_config_allows_work_and_others_are_refused(name: str, dimension: int) -> None:
    choice = small(name, dimension)
    assert choice.config.refusal(SIDES[dimension]) == ""
    odd = (33, 32, 1) if dimension == 2 else (33, 32, 16)
    network = drawn(unet(choice))
    x = torch.rand(2, 1, *odd)
    if choice.config.refusal(odd):
        assert "multiple" in choice.config.refusal(odd)
        with pytest.raises(MethodError, match="multiples"):
            network(x)
    else:
        assert network(x).shape == x.shape


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
