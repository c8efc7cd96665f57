"""The U-Net carries the published tensors, and its shapes are what the backbone contract says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sg_bench.errors import MethodError
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.unet import Encoder3D, UNet3D, YNet3D

PUBLISHED = json.loads((Path(__file__).parent / "unet3d_keys.json").read_text())


def shapes(network: torch.nn.Module) -> list[tuple[str, list[int]]]:
    return [(name, list(tensor.shape)) for name, tensor in network.state_dict().items()]


def published(*parts: str) -> list[tuple[str, list[int]]]:
    return [entry for part in parts for entry in PUBLISHED[part].items()]


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "parts", "entries", "count"),
    [
        (lambda: Encoder3D(32), ("encoder",), 56, 7_027_776),
        (lambda: UNet3D(32), ("encoder", "decoder"), 106, 19_073_665),
        (lambda: YNet3D(32, 44), ("encoder", "decoder", "head_44_classes"), 115, 33_277_613),
    ],
    ids=["Encoder3D", "UNet3D", "YNet3D"],
)
def test_names_shapes_and_order_are_the_published_ones(
    network: Callable[[], torch.nn.Module], parts: tuple[str, ...], entries: int, count: int
) -> None:
    with torch.device("meta"):
        built = network()
    assert shapes(built) == published(*parts)
    assert len(built.state_dict()) == entries
    assert parameters(built) == count


@pytest.mark.parametrize("width", [4, 32])
def test_four_maps_have_the_declared_channels_and_strides(width: int) -> None:
    network, x = UNet3D(width).eval(), torch.rand(2, 1, 16, 16, 8)
    with torch.no_grad():
        features = network.features(x)
        restored = torch.sigmoid(network.decode(features))
    assert network.channels == (2 * width, 4 * width, 8 * width, 16 * width)
    for found, channels, stride in zip(features, network.channels, network.strides, strict=True):
        assert tuple(found.shape) == (2, channels, 16 // stride, 16 // stride, 8 // stride)
    assert restored.shape == x.shape
    assert 0 <= restored.min() <= restored.max() <= 1


def test_forward_is_the_sigmoid_of_the_decoded_features() -> None:
    network, x = UNet3D(2, out_channels=3).eval(), torch.rand(1, 1, 16, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(x), torch.sigmoid(network.decode(network.features(x))))
        assert network(x).shape == (1, 3, 16, 8, 8)


def test_axes_are_x_y_z_and_stay_apart() -> None:
    assert UNet3D(2).eval()(torch.rand(1, 1, 24, 16, 8)).shape == (1, 1, 24, 16, 8)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16, 12), (1, 1, 16, 16), (1, 2, 16, 16, 8), (1, 1, 0, 8, 8)])
def test_a_shape_that_does_not_fit_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(MethodError, match="multiples of 8") as error:
        UNet3D(2).features(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_without_skips_only_the_bottleneck_reaches_the_decoder() -> None:
    joined, bare = UNet3D(2).eval(), UNet3D(2, skips=False).eval()
    assert shapes(joined) == shapes(bare)
    features = joined.features(torch.rand(1, 1, 16, 16, 8))
    others = [torch.rand_like(found) for found in features[:-1]] + features[-1:]
    assert torch.equal(bare.decode(features), bare.decode(others))
    assert not torch.equal(joined.decode(features), joined.decode(others))


def test_without_skips_zeros_stand_in_for_the_finer_maps() -> None:
    joined, bare = UNet3D(2).eval(), UNet3D(2, skips=False).eval()
    bare.load_state_dict(joined.state_dict())
    features = joined.features(torch.rand(1, 1, 8, 8, 8))
    zeros = [torch.zeros_like(found) for found in features[:-1]] + features[-1:]
    assert torch.equal(bare.decode(features), joined.decode(zeros))


def test_the_ynet_restores_and_classifies_in_one_pass() -> None:
    network, x = YNet3D(2, 5).eval(), torch.rand(3, 1, 16, 16, 8)
    restored, logits = network(x)
    assert restored.shape == x.shape
    assert logits.shape == (3, 5)
    assert torch.equal(logits, network.classify(x))


def test_classifying_alone_leaves_the_decoder_out() -> None:
    network = YNet3D(2, 5)
    network.classify(torch.rand(2, 1, 16, 16, 8)).sum().backward()
    without = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is None}
    assert without == {"up_tr256", "up_tr128", "up_tr64", "out_tr"}


def test_every_parameter_of_the_ynet_learns() -> None:
    network = glorot_(YNet3D(2, 5), torch.Generator().manual_seed(0))
    restored, logits = network(torch.rand(2, 1, 16, 16, 16))
    torch.autograd.backward(restored.square().mean() + logits.square().mean())
    assert all(parameter.grad is not None for parameter in network.parameters())
