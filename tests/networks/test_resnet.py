"""The 2D networks: torchvision's tensors in the encoder, the backbone contract, and the flat axis put back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sg_bench.errors import MethodError
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.norm import CrossRankBatchNorm2d, convert_sync_batchnorm
from sg_bench.networks.resnet import DEVIATION, MEAN, Encoder2D, UNet2D, YNet2D, decoder_widths


def batch_norm(name: str, channels: int) -> list[tuple[str, tuple[int, ...]]]:
    vectors = [(f"{name}.{kind}", (channels,)) for kind in ("weight", "bias", "running_mean", "running_var")]
    return [*vectors, (f"{name}.num_batches_tracked", ())]


def torchvision_resnet18() -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of torchvision's ResNet-18 without its last layer, in its order, by their rule."""
    out = [("conv1.weight", (64, 3, 7, 7)), *batch_norm("bn1", 64)]
    for level, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{level}.{block}"
            inputs = channels // 2 if level > 1 and block == 0 else channels
            out += [(f"{name}.conv1.weight", (channels, inputs, 3, 3)), *batch_norm(f"{name}.bn1", channels)]
            out += [(f"{name}.conv2.weight", (channels, channels, 3, 3)), *batch_norm(f"{name}.bn2", channels)]
            if inputs < channels:
                out += [(f"{name}.downsample.0.weight", (channels, inputs, 1, 1))]
                out += batch_norm(f"{name}.downsample.1", channels)
    return out


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_at_width_32_the_encoder_has_torchvisions_names_and_shapes_behind_one_prefix() -> None:
    with torch.device("meta"):
        state = Encoder2D(32).state_dict()
    wanted = torchvision_resnet18()
    assert len(wanted) == 120
    assert [(name, tuple(tensor.shape)) for name, tensor in state.items()] == [(f"encoder.{n}", s) for n, s in wanted]


def test_at_width_32_the_parameters_are_as_many_as_published() -> None:
    with torch.device("meta"):
        assert parameters(Encoder2D(32)) + 512 * 1000 + 1000 == 11_689_512
        assert parameters(UNet2D(32)) == 14_328_209


@pytest.mark.parametrize(
    ("width", "widths"), [(32, [256, 128, 64, 32, 16]), (8, [64, 32, 16, 8, 4]), (1, [8] + [4] * 4)]
)
def test_the_decoders_widths_follow_the_networks_but_for_the_least(width: int, widths: list[int]) -> None:
    assert decoder_widths(width) == widths


@pytest.mark.parametrize("width", [1, 4])
def test_five_maps_have_the_declared_channels_and_strides_and_no_flat_axis(width: int) -> None:
    network, x = UNet2D(width).eval(), torch.rand(2, 1, 64, 96, 1)
    with torch.no_grad():
        features = network.features(x)
        restored = network(x)
    assert network.channels == (2 * width, 2 * width, 4 * width, 8 * width, 16 * width)
    for found, channels, stride in zip(features, network.channels, network.strides, strict=True):
        assert tuple(found.shape) == (2, channels, 64 // stride, 96 // stride)
    assert restored.shape == x.shape
    assert 0 <= restored.min() <= restored.max() <= 1
    assert torch.equal(restored, torch.sigmoid(network.decode(features)))


def test_other_output_channels_stand_on_the_inputs_grid() -> None:
    assert UNet2D(1, 3).eval()(torch.rand(1, 1, 32, 64, 1)).shape == (1, 3, 32, 64, 1)


def test_the_first_convolution_sees_three_equal_channels_normalised_as_imagenets() -> None:
    network, x = Encoder2D(1).eval(), torch.rand(2, 1, 32, 32, 1)
    seen: list[torch.Tensor] = []
    network.encoder.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(x)
    for channel, (mean, deviation) in enumerate(zip(MEAN, DEVIATION, strict=True)):
        torch.testing.assert_close(seen[0][:, channel], (x[:, 0, :, :, 0] - mean) / deviation)


@pytest.mark.parametrize(
    "shape", [(1, 1, 64, 48, 1), (1, 1, 64, 64), (1, 3, 64, 64, 1), (1, 1, 64, 64, 2), (1, 1, 0, 32, 1)]
)
def test_a_shape_that_does_not_fit_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(MethodError, match="multiples of 32") as error:
        Encoder2D(1).features(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_without_skips_only_the_bottleneck_reaches_the_decoder() -> None:
    joined, bare = UNet2D(1).eval(), UNet2D(1, skips=False).eval()
    bare.load_state_dict(joined.state_dict())
    features = joined.features(torch.rand(1, 1, 64, 64, 1))
    others = [torch.rand_like(found) for found in features[:-1]] + features[-1:]
    zeros = [torch.zeros_like(found) for found in features[:-1]] + features[-1:]
    assert torch.equal(bare.decode(features), bare.decode(others))
    assert torch.equal(bare.decode(features), joined.decode(zeros))
    assert not torch.equal(joined.decode(features), joined.decode(zeros))


def test_the_ynet_restores_and_classifies_in_one_pass() -> None:
    network, x = YNet2D(1, 5).eval(), torch.rand(3, 1, 64, 64, 1)
    restored, logits = network(x)
    assert (restored.shape, logits.shape) == (x.shape, (3, 5))
    assert torch.equal(logits, network.classify(x))
    assert (network.clc_out.conv1.weight.shape, network.clc_out.fc1.weight.shape) == ((32, 16, 3, 3), (5, 32))


def test_classifying_alone_leaves_the_decoder_out() -> None:
    network = YNet2D(1, 5)
    network.classify(torch.rand(2, 1, 64, 64, 1)).sum().backward()
    without = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is None}
    assert without == {"decoder", "segmentation_head"}


def test_every_parameter_of_the_ynet_learns() -> None:
    network = glorot_(YNet2D(2, 5), torch.Generator().manual_seed(0))
    restored, logits = network(torch.rand(2, 1, 64, 64, 1))
    torch.autograd.backward(restored.square().mean() + logits.square().mean())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_every_batch_norm_becomes_one_that_ranks_share() -> None:
    kinds = [type(module) for module in convert_sync_batchnorm(YNet2D(1, 2)).modules()]
    assert kinds.count(CrossRankBatchNorm2d) == 20 + 10 + 1
    assert nn.BatchNorm2d not in kinds


def test_the_maps_are_those_of_the_standard_resnet18() -> None:
    from monai.networks.nets.resnet import resnet18

    ours = Encoder2D(32).eval()
    standard = resnet18(
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    ).eval()
    standard.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in ours.state_dict().items()})
    wanted: list[torch.Tensor] = []
    for level in (standard.layer1, standard.layer2, standard.layer3, standard.layer4):
        level.register_forward_hook(lambda module, inputs, output: wanted.append(output))
    x = torch.rand(1, 1, 64, 64, 1)
    with torch.no_grad():
        standard((x[..., 0] - ours.mean) / ours.deviation)
        for found, expected in zip(ours.features(x)[1:], wanted, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
