"""I3D, Inception-v1 inflated to three dimensions, with the tensor names of its usual PyTorch files after `encoder.`.

Slices are the frames: the axes enter as (Z, Y, X). An image of one channel stands for a grey film: the published first
convolution is summed over red, green and blue, which computes what three equal channels would. Images are scaled from
[0, 1] to the published [-1, 1]. Padding is that of TensorFlow ("same"), for sides that are multiples of the strides.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?" (CVPR 2017), figure 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sg_bench.networks.backbone import Backbone
from sg_bench.networks.configs import I3DConfig

FIRST = "Conv3d_1a_7x7.conv3d.weight"
"""Published name of the first convolution."""
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
"""Channels of the branches of each block: 1x1x1; 1x1x1 and 3x3x3; the same; 1x1x1 after pooling."""
STRIDES = ((2, 2, 2), (4, 4, 2), (8, 8, 2), (16, 16, 4), (32, 32, 8))
"""Of the maps, along X, Y and Z."""


class PaddedConvolution(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, side: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, side, stride=stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)
        self.around = _same(side, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, Z / stride, Y / stride, X / stride) >= 0."""
        out: Tensor = torch.relu_(self.bn(self.conv3d(pad(x, self.around * 3))))
        return out


class Pool(nn.MaxPool3d):
    """Maximum over a cube, padded by zeros, which are the least values of its input."""

    def __init__(self, sides: tuple[int, int, int], strides: tuple[int, int, int]) -> None:
        super().__init__(sides, strides)
        pairs = [_same(side, stride) for side, stride in zip(sides, strides, strict=True)]
        self.around = [each for pair in reversed(pairs) for each in pair]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ...), each side divided by its stride."""
        out: Tensor = super().forward(pad(x, self.around))
        return out


class Inception(nn.Module):
    """Four branches, concatenated."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = PaddedConvolution(inputs, widths[0])
        self.b1a, self.b1b = PaddedConvolution(inputs, widths[1]), PaddedConvolution(widths[1], widths[2], 3)
        self.b2a, self.b2b = PaddedConvolution(inputs, widths[3]), PaddedConvolution(widths[3], widths[4], 3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), PaddedConvolution(inputs, widths[5])
        self.channels = widths[0] + widths[2] + widths[4] + widths[5]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, Z, Y, X) >= 0."""
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return torch.cat(branches, dim=1)


class InflatedInception(nn.Module):
    """The published network up to its pooling and logits."""

    def __init__(self, width: int, in_channels: int) -> None:
        super().__init__()
        stem = width, 3 * width
        self.Conv3d_1a_7x7 = PaddedConvolution(in_channels, width, 7, 2)
        self.Conv3d_2b_1x1 = PaddedConvolution(width, width)
        self.Conv3d_2c_3x3 = PaddedConvolution(width, stem[1], 3)
        self.pool2, self.pool3 = Pool((1, 3, 3), (1, 2, 2)), Pool((1, 3, 3), (1, 2, 2))
        self.pool4, self.pool5 = Pool((3, 3, 3), (2, 2, 2)), Pool((2, 2, 2), (2, 2, 2))
        channels, ends = stem[1], {}
        for name, widths in MIXED.items():
            block = Inception(channels, tuple(max(1, each * width // 64) for each in widths))
            self.add_module(name, block)
            channels = ends[name] = block.channels
        self.channels = (*stem, ends["Mixed_3c"], ends["Mixed_4f"], ends["Mixed_5c"])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the stem and of the three groups of blocks, for images (B, C, Z, Y, X) in [-1, 1]."""
        maps = [self.Conv3d_1a_7x7(x)]
        maps.append(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(self.pool2(maps[0]))))
        for pool, group in ((self.pool3, "Mixed_3"), (self.pool4, "Mixed_4"), (self.pool5, "Mixed_5")):
            x = pool(maps[-1])
            for name in MIXED:
                if name.startswith(group):
                    x = self.get_submodule(name)(x)
            maps.append(x)
        return maps


class I3D(Backbone):
    """The inflated Inception, with the generic decoder."""

    strides = STRIDES

    def __init__(self, config: I3DConfig) -> None:
        super().__init__()
        self.in_channels, self.multiple = config.in_channels, config.multiple
        self.encoder = InflatedInception(config.width, config.in_channels)
        self.channels = self.encoder.channels

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return five maps, (B, 64, X/2, Y/2, Z/2) to (B, 1024, X/32, Y/32, Z/8).

        Args:
            x: (B, in_channels, X, Y, Z), intensities in [0, 1], X and Y multiples of 32, Z of 8.

        Raises:
            MethodError: `x` has another shape.
        """
        maps = self.encoder(2 * self.on_own_axes(x).transpose(2, 4) - 1)
        return [each.transpose(2, 4) for each in maps]


def _same(side: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after of TensorFlow's "same", for an input that is a multiple of the stride."""
    total = max(side - stride, 0)
    return total // 2, total - total // 2
