"""The 3D U-Net of Models Genesis, Semantic Genesis and TransVW, with the tensor names of their published weights.

Four levels of two convolutions, three poolings; at width 32 the encoder yields 64, 128, 256 and 512 channels.
Batch norm is the ordinary one; the official code always normalises with the evaluated batch's own statistics, which
`norm.use_batch_statistics` reproduces.

Source: Zhou et al., "Models Genesis" (MICCAI 2019); Haghighi et al., arXiv:2007.06959, section 2 (the Y-Net).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone, PatternHead, UNet, YNet
from sg_bench.networks.configs import UNet3DNetworkConfig

DIVISOR = 8
"""Three poolings by two: every side of the input must be a multiple of this."""


class Convolution(nn.Module):
    """Convolution 3x3x3, batch norm, ReLU; the grid is kept."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, X, Y, Z) >= 0."""
        return torch.relu_(self.bn1(self.conv1(x)))


class DownTransition(nn.Module):
    """One level of the encoder: two convolutions, the second with twice as many channels."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.ops = nn.Sequential(Convolution(inputs, width), Convolution(width, 2 * width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 * width, X, Y, Z)."""
        out: Tensor = self.ops(x)
        return out


class UpTransition(nn.Module):
    """One level of the decoder: upsample by two, concatenate the encoder's map, two convolutions."""

    def __init__(self, inputs: int, skip: int) -> None:
        super().__init__()
        self.up_conv = nn.ConvTranspose3d(inputs, inputs, kernel_size=2, stride=2)
        self.ops = nn.Sequential(Convolution(inputs + skip, skip), Convolution(skip, skip))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (B, skip channels, 2X, 2Y, 2Z); the upsampled map comes before the encoder's along the channels."""
        out: Tensor = self.ops(torch.cat((self.up_conv(x), skip), dim=1))
        return out


class OutputTransition(nn.Module):
    """The 1x1x1 convolution to the output channels, without its sigmoid."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.final_conv = nn.Conv3d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, X, Y, Z)."""
        out: Tensor = self.final_conv(x)
        return out


class Encoder3D(Backbone):
    """The U-Net's encoder without a decoder, for classification tasks."""

    DECODER: ClassVar[tuple[str, ...]] = ("up_tr", "out_tr")
    OUTPUT: ClassVar[tuple[str, ...]] = ("out_tr",)
    strides: tuple[int, ...] = (1, 2, 4, 8)

    def __init__(self, width: int = 32, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = (2 * width, 4 * width, 8 * width, 16 * width)
        self.down_tr64 = DownTransition(in_channels, width)
        self.down_tr128 = DownTransition(2 * width, 2 * width)
        self.down_tr256 = DownTransition(4 * width, 4 * width)
        self.down_tr512 = DownTransition(8 * width, 8 * width)
        self.pool = nn.MaxPool3d(2)

    @classmethod
    def build(cls, config: UNet3DNetworkConfig) -> Encoder3D:
        """Return the encoder of a configuration."""
        return Encoder3D(config.width, config.in_channels)

    @classmethod
    def build_unet(cls, config: UNet3DNetworkConfig, out_channels: int = 1, *, skips: bool = True) -> UNet3D:
        """Return the U-Net of a configuration."""
        return UNet3D(config.width, config.in_channels, out_channels, skips=skips)

    @classmethod
    def build_ynet(cls, config: UNet3DNetworkConfig, classes: int) -> YNet3D:
        """Return the Y-Net of a configuration."""
        return YNet3D(config.width, classes, config.in_channels)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the four levels' maps, fine to coarse: (B, 2w, X, Y, Z) ... (B, 16w, X/8, Y/8, Z/8).

        Args:
            x: (B, in_channels, X, Y, Z), intensities in [0, 1], each side a multiple of 8.

        Raises:
            MethodError: `x` has another shape.
        """
        _check_shape(x, self.in_channels)
        out64 = self.down_tr64(x)
        out128 = self.down_tr128(self.pool(out64))
        out256 = self.down_tr256(self.pool(out128))
        out512 = self.down_tr512(self.pool(out256))
        return [out64, out128, out256, out512]


class UNet3D(UNet, Encoder3D):
    """Encoder and decoder; at width 32 the 106 tensors and 19 073 665 parameters of the published weights."""

    def __init__(self, width: int = 32, in_channels: int = 1, out_channels: int = 1, *, skips: bool = True) -> None:
        """Build the network.

        Args:
            width: channels of the first convolution; 32 is the papers' network.
            in_channels: channels of the image.
            out_channels: channels of the restored or segmented image.
            skips: False replaces the encoder's finer maps by zeros in the decoder, so that all information passes
                through the bottleneck; the parameters are the same.
        """
        super().__init__(width, in_channels)
        self.skips = skips
        self.up_tr256 = UpTransition(16 * width, 8 * width)
        self.up_tr128 = UpTransition(8 * width, 4 * width)
        self.up_tr64 = UpTransition(4 * width, 2 * width)
        self.out_tr = OutputTransition(2 * width, out_channels)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z) from the four maps of `features`."""
        *fine, x = features
        for level, skip in zip((self.up_tr256, self.up_tr128, self.up_tr64), reversed(fine), strict=True):
            x = level(x, skip if self.skips else torch.zeros_like(skip))
        logits: Tensor = self.out_tr(x)
        return logits


class YNet3D(YNet, UNet3D):
    """The U-Net with a pattern head at its bottleneck; 33 277 613 parameters at width 32 and 44 classes."""

    def __init__(self, width: int, classes: int, in_channels: int = 1) -> None:
        super().__init__(width, in_channels, in_channels)
        self.clc_out = PatternHead(16 * width, classes, 3)


def _check_shape(x: Tensor, in_channels: int) -> None:
    shape = tuple(x.shape)
    fits = len(shape) == 5 and shape[1] == in_channels and not any(side % DIVISOR or not side for side in shape[2:])
    if not fits:
        raise MethodError(
            f"the 3D U-Net takes (B, {in_channels}, X, Y, Z) with X, Y and Z multiples of {DIVISOR}, not {shape}",
            hint="Crop or pad the patch: the published size is 64 x 64 x 32",
        )
