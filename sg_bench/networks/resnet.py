"""The 2D networks: ResNet-18, and a U-Net and a Y-Net on it, with torchvision's tensor names after `encoder.`.

At width 32 the encoder is the standard ResNet-18, so weights trained on ImageNet fit; other widths scale all its
channels by the same factor. An image of one channel is repeated to three, and three are normalised like ImageNet; other
numbers of channels are normalised with the mean of its three. The decoder is that of
the segmentation_models library, with its tensor names.

Source: He et al., "Deep Residual Learning" (CVPR 2016), table 1; protocol B.0 and C.13.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone, PatternHead, UNet, YNet
from sg_bench.networks.configs import ResNet18NetworkConfig
from sg_bench.networks.memory import channels_last

DIVISOR = 32
"""Five halvings: both sides of the input must be a multiple of this."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, in [0, 1]."""
DECODER_WIDTHS = (256, 128, 64, 32, 16)
"""Channels of the decoder's five blocks at width 32."""
LEAST_WIDTH = 4
"""Least number of channels in the decoder of a narrower network."""


class Encoder2D(Backbone):
    """ResNet-18 without its pooling and last layer, for classification tasks."""

    dimension = 2
    strides = (2, 4, 8, 16, 32)
    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int = 32, in_channels: int = 1) -> None:
        """Build the network; its first convolution has 2 * `width` channels, 64 in the standard one."""
        super().__init__()
        self.in_channels = in_channels
        self.channels = (2 * width, 2 * width, 4 * width, 8 * width, 16 * width)
        colours = in_channels in (1, 3)
        self.encoder = _resnet18(2 * width, 3 if colours else in_channels)
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            value = torch.tensor(values if colours else [sum(values) / 3]).view(-1, 1, 1)
            self.register_buffer(name, value, persistent=False)

    @classmethod
    def build(cls, config: ResNet18NetworkConfig) -> Encoder2D:
        """Return the encoder of a configuration."""
        return Encoder2D(config.width, config.in_channels)

    @classmethod
    def build_unet(cls, config: ResNet18NetworkConfig, out_channels: int = 1, *, skips: bool = True) -> UNet2D:
        """Return the U-Net of a configuration."""
        return UNet2D(config.width, out_channels, config.in_channels, skips=skips)

    @classmethod
    def build_ynet(cls, config: ResNet18NetworkConfig, classes: int) -> YNet2D:
        """Return the Y-Net of a configuration."""
        return YNet2D(config.width, classes, config.in_channels)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return five maps, fine to coarse: (B, 2w, X/2, Y/2), (B, 2w, X/4, Y/4) ... (B, 16w, X/32, Y/32).

        Args:
            x: (B, in_channels, X, Y, 1), intensities in [0, 1], X and Y multiples of 32.

        Raises:
            MethodError: `x` has another shape.
        """
        _check_shape(x, self.in_channels)
        net = self.encoder
        out = net.act(net.bn1(net.conv1(channels_last((x[..., 0] - self.mean) / self.deviation))))
        maps = [out, net.layer1(net.maxpool(out))]
        for level in (net.layer2, net.layer3, net.layer4):
            maps.append(level(maps[-1]))
        return maps


class DecoderBlock(nn.Module):
    """One level of the decoder: upsample by two, concatenate the encoder's map, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs + skip, outputs)
        self.conv2 = _convolution(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Return (B, outputs, 2X, 2Y) >= 0; the upsampled map comes before the encoder's along the channels."""
        x = interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.conv2(self.conv1(x if skip is None else torch.cat((x, skip), dim=1)))
        return out


class Decoder2D(nn.Module):
    """Five blocks from the coarsest map to the input's grid; the last one has no map of the encoder to concatenate."""

    def __init__(self, width: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        widths = decoder_widths(width)
        *skips, deepest = channels
        inputs, joined = (deepest, *widths[:-1]), (*reversed(skips), 0)
        self.blocks = nn.ModuleList(map(DecoderBlock, inputs, joined, widths))

    def forward(self, features: list[Tensor], *, skips: bool) -> Tensor:
        """Return (B, widths[-1], X, Y) from the encoder's maps; without `skips` the finer ones are set to zero."""
        *fine, x = features
        for block, skip in zip(self.blocks, (*reversed(fine), None), strict=True):
            x = block(x, skip if skips or skip is None else torch.zeros_like(skip))
        return x


class UNet2D(UNet, Encoder2D):
    """Encoder and decoder; at width 32, 14 328 209 parameters."""

    def __init__(self, width: int = 32, out_channels: int = 1, in_channels: int = 1, *, skips: bool = True) -> None:
        """Build the network.

        Args:
            width: half the channels of the first convolution; 32 is the papers' network.
            out_channels: channels of the restored or segmented image.
            in_channels: channels of the image.
            skips: False replaces the encoder's finer maps by zeros in the decoder, so that all information passes
                through the bottleneck; the parameters are the same.
        """
        super().__init__(width, in_channels)
        self.skips = skips
        self.decoder = Decoder2D(width, self.channels)
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(decoder_widths(width)[-1], out_channels, kernel_size=3, padding=1)
        )

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits (B, out_channels, X, Y, 1) from the five maps of `features`."""
        logits: Tensor = self.segmentation_head(self.decoder(features, skips=self.skips))
        return logits[..., None]


class YNet2D(YNet, UNet2D):
    """The 2D U-Net with a pattern head at its bottleneck."""

    def __init__(self, width: int, classes: int, in_channels: int = 1) -> None:
        super().__init__(width, in_channels, in_channels)
        self.clc_out = PatternHead(16 * width, classes, 2)


def decoder_widths(width: int) -> list[int]:
    """Return the channels of the decoder's five blocks for a network of `width`."""
    return [max(LEAST_WIDTH, standard * width // 32) for standard in DECODER_WIDTHS]


def _resnet18(first: int, in_channels: int) -> Any:
    """Return MONAI's ResNet-18 without its last layer, with `first` channels after the first convolution."""
    from monai.networks.nets.resnet import ResNet

    network: Any = ResNet(
        "basic",
        [2, 2, 2, 2],
        block_inplanes=[first, 2 * first, 4 * first, 8 * first],
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        feed_forward=False,
        shortcut_type="B",
        bias_downsample=False,
    )
    for level in (network.layer2, network.layer3, network.layer4):
        level[0].downsample = _Shortcut(*level[0].downsample)
    return network


class _Shortcut(nn.Sequential):
    """A 1x1 convolution of every second pixel, and its batch norm; equal to a convolution with stride 2.

    On CPUs, the gradient of the latter for fewer than 8 channels in channels-last format is written out of bounds by
    the library behind torch 2.13.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__(convolution, norm)
        convolution.stride = (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(channels_last(x[:, :, ::2, ::2]))  # type: ignore[no-untyped-call]
        return out


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _check_shape(x: Tensor, in_channels: int) -> None:
    shape = tuple(x.shape)
    sides = shape[2:4]
    fits = (
        len(shape) == 5
        and (shape[1], shape[4]) == (in_channels, 1)
        and not any(side % DIVISOR or not side for side in sides)
    )
    if not fits:
        raise MethodError(
            f"the 2D networks take (B, {in_channels}, X, Y, 1) with X and Y multiples of {DIVISOR}, not {shape}",
            hint="Crop, pad or resize the film: the published size is 224 x 224",
        )
