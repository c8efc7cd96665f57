"""The residual-encoder U-Net of nnU-Net, in two or three dimensions, with the tensor names of its files.

Instance norm, leaky ReLU, residual blocks of two convolutions in the encoder, one convolution a level in the decoder.
Sides need not be multiples of the strides: maps are rounded up, and the decoder crops to them.

Source: Isensee et al., "nnU-Net Revisited" (MICCAI 2024), ResEnc presets; He et al., "Bag of Tricks" (CVPR 2019), the
shortcut that averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sg_bench.config import SpatialDims
from sg_bench.networks.backbone import Backbone, cropped
from sg_bench.networks.configs import ResEncUNetConfig
from sg_bench.networks.decoder import CONVOLUTIONS, Decoder

TRANSPOSED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
INSTANCE_NORMS: dict[int, type[nn.InstanceNorm2d] | type[nn.InstanceNorm3d]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}
AVERAGES: dict[int, type[nn.AvgPool2d] | type[nn.AvgPool3d]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
SLOPE = 0.01
"""Of leaky ReLU below zero."""


class NormedConvolution(nn.Module):
    """Convolution, instance norm and, if `active`, leaky ReLU."""

    def __init__(
        self, dimension: SpatialDims, inputs: int, outputs: int, side: int = 3, stride: int = 1, *, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[dimension](inputs, outputs, side, stride=stride, padding=side // 2, bias=side > 1)
        self.norm = INSTANCE_NORMS[dimension](outputs, affine=True)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ...), each side divided by the stride and rounded up."""
        x = self.norm(self.conv(x))
        return nn.functional.leaky_relu(x, SLOPE) if self.active else x


class ResidualBlock(nn.Module):
    """Two convolutions, and a shortcut that averages where the grid is halved."""

    def __init__(self, dimension: SpatialDims, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = NormedConvolution(dimension, inputs, outputs, stride=stride)
        self.conv2 = NormedConvolution(dimension, outputs, outputs, active=False)
        average: list[nn.Module] = [AVERAGES[dimension](stride, stride, ceil_mode=True)] if stride > 1 else []
        widen = [NormedConvolution(dimension, inputs, outputs, 1, active=False)] if inputs != outputs else []
        self.skip = nn.Sequential(*average, *widen)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ...)."""
        return nn.functional.leaky_relu(self.conv2(self.conv1(x)) + self.skip(x), SLOPE)


class Level(nn.Module):
    """The residual blocks of one level of the encoder."""

    def __init__(self, dimension: SpatialDims, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        rest = [ResidualBlock(dimension, outputs, outputs, 1) for _ in range(blocks - 1)]
        self.blocks = nn.Sequential(ResidualBlock(dimension, inputs, outputs, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ...)."""
        out: Tensor = self.blocks(x)
        return out


class Convolutions(nn.Module):
    """A convolution, under the name that nnU-Net gives it."""

    def __init__(self, dimension: SpatialDims, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(NormedConvolution(dimension, inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ...)."""
        out: Tensor = self.convs(x)
        return out


class ResidualEncoder(nn.Module):
    """A convolution and the levels."""

    def __init__(
        self, dimension: SpatialDims, in_channels: int, features: Sequence[int], blocks: Sequence[int]
    ) -> None:
        super().__init__()
        self.stem = Convolutions(dimension, in_channels, features[0])
        inputs = (features[0], *features[:-1])
        self.stages = nn.ModuleList(
            Level(dimension, before, after, count, 2 if place else 1)
            for place, (before, after, count) in enumerate(zip(inputs, features, blocks, strict=True))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the map of each level."""
        maps = [self.stages[0](self.stem(x))]
        for level in self.stages[1:]:
            maps.append(level(maps[-1]))
        return maps


class ResidualDecoder(nn.Module):
    """A transposed convolution, the encoder's map and a convolution for each level."""

    def __init__(self, dimension: SpatialDims, features: Sequence[int]) -> None:
        super().__init__()
        pairs = list(zip(reversed(features[1:]), reversed(features[:-1]), strict=True))
        self.transpconvs = nn.ModuleList(TRANSPOSED[dimension](below, skip, 2, stride=2) for below, skip in pairs)
        self.stages = nn.ModuleList(Convolutions(dimension, 2 * skip, skip) for _, skip in pairs)
        self.channels = features[0]

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return (B, channels, X, Y[, Z]) from the encoder's maps."""
        *fine, x = maps
        for up, level, skip in zip(self.transpconvs, self.stages, reversed(fine), strict=True):
            x = level(torch.cat((cropped(up(x), skip), skip), dim=1))
        return x


class ResEncUNet(Backbone):
    """The residual encoder; `build_unet` adds the decoder."""

    def __init__(self, config: ResEncUNetConfig) -> None:
        super().__init__()
        self.dimension, self.in_channels, self.channels = config.dimension, config.in_channels, config.features
        self.strides = tuple(2**level for level in range(len(config.blocks)))
        self.multiple = config.multiple
        self.encoder = ResidualEncoder(config.dimension, config.in_channels, config.features, config.blocks)

    def make_decoder(self) -> Decoder:
        """Return nnU-Net's decoder."""
        return ResidualDecoder(self.dimension, self.channels)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the map of each level for images (B, in_channels, X, Y, Z) in [0, 1].

        Raises:
            MethodError: `x` has another shape.
        """
        maps: list[Tensor] = self.encoder(self.on_own_axes(x))
        return maps
