"""MedicalNet's 3D ResNets, with their published tensor names after `encoder.`, and a decoder of ours.

The last two levels dilate their kernels (2 and 4) instead of halving the grid, so the sides of the coarsest map are an
eighth of the input's. ResNet-18 and 34 have shortcuts without weights; the official code detaches those from the
gradient, which is not reproduced. Images are in [0, 1]; the intensity scaling of the official data is not known.

Source: Chen et al., "Med3D: Transfer Learning for 3D Medical Image Analysis", arXiv:1904.00625; protocol part E.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone, PatternHead, UNet, YNet
from sg_bench.networks.configs import MedicalNetNetworkConfig
from sg_bench.networks.unet import Convolution, UpTransition

DIVISOR = 8
"""Three halvings: every side of the input must be a multiple of this."""
DEPTHS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
}
"""Blocks of each level."""
WIDTHS = (64, 128, 256, 512)
STRIDES, DILATIONS = (1, 2, 1, 1), (1, 1, 2, 4)
WITHOUT_WEIGHTS = (18, 34)
"""Depths with shortcuts of type A in the published files; the others have type B, a convolution and a batch norm."""


class PaddedShortcut(nn.Module):
    """Shortcut of type A: every `stride`-th voxel, and zeros in the added channels; without parameters."""

    def __init__(self, new: int, stride: int) -> None:
        super().__init__()
        self.new, self.stride = new, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + new, X / stride, Y / stride, Z / stride), with gradients."""
        step = self.stride
        return pad(x[:, :, ::step, ::step, ::step], (0, 0, 0, 0, 0, 0, 0, self.new))


class BasicBlock(nn.Module):
    """Two convolutions 3x3x3 and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, width, 3, stride, dilation)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, 3, 1, dilation)
        self.bn2 = nn.BatchNorm3d(width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, X / stride, Y / stride, Z / stride) >= 0."""
        out = self.bn2(self.conv2(torch.relu_(self.bn1(self.conv1(x)))))
        return torch.relu_(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """Convolutions 1x1x1, 3x3x3 and 1x1x1 and a shortcut; the output has four times the channels of the middle."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, 3, stride, dilation)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = _convolution(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm3d(4 * width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4 * width, X / stride, Y / stride, Z / stride) >= 0."""
        out = torch.relu_(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(torch.relu_(self.bn2(self.conv2(out)))))
        return torch.relu_(out + (x if self.downsample is None else self.downsample(x)))


class ResNet3D(nn.Module):
    """The network of the published files, up to its last level."""

    def __init__(self, depth: int, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.maxpool = nn.MaxPool3d(kernel_size=3, stride=2, padding=1)
        inputs, levels = 64, []
        for blocks, width, stride, dilation in zip(DEPTHS[depth], WIDTHS, STRIDES, DILATIONS, strict=True):
            levels.append(_level(depth, inputs, width, blocks, stride, dilation))
            inputs = width * _block(depth).expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = levels

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the stem and of the four levels for images (B, 1, X, Y, Z)."""
        maps = [torch.relu_(self.bn1(self.conv1(x)))]
        x = self.maxpool(maps[0])
        for level in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = level(x)
            maps.append(x)
        return maps


class MedicalNet(Backbone):
    """MedicalNet without a decoder, for classification tasks."""

    strides = (2, 4, 8, 8, 8)

    def __init__(self, depth: int = 18, in_channels: int = 1) -> None:
        """Build the network of `depth` 10, 18, 34 or 50 layers.

        Raises:
            MethodError: no such depth is published.
        """
        super().__init__()
        if depth not in DEPTHS:
            raise MethodError(f"MedicalNet has no depth {depth}", hint=f"Choose one of {', '.join(map(str, DEPTHS))}")
        self.channels = (64, *(width * _block(depth).expansion for width in WIDTHS))
        self.in_channels = in_channels
        self.encoder = ResNet3D(depth, in_channels)

    @classmethod
    def build(cls, config: MedicalNetNetworkConfig) -> MedicalNet:
        """Return the encoder of a configuration."""
        return MedicalNet(config.depth, config.in_channels)

    @classmethod
    def build_unet(
        cls, config: MedicalNetNetworkConfig, out_channels: int = 1, *, skips: bool = True
    ) -> MedicalNetUNet:
        """Return the network of a configuration with a decoder."""
        return MedicalNetUNet(config.depth, out_channels, config.in_channels, skips=skips)

    @classmethod
    def build_ynet(cls, config: MedicalNetNetworkConfig, classes: int) -> MedicalNetYNet:
        """Return the network of a configuration with a decoder and a pattern head."""
        return MedicalNetYNet(config.depth, classes, config.in_channels)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return five maps, fine to coarse: (B, 64, X/2, Y/2, Z/2), (B, 64e, X/4, ...), then three of X/8.

        Args:
            x: (B, in_channels, X, Y, Z), intensities in [0, 1], each side a multiple of 8.

        Raises:
            MethodError: `x` has another shape.
        """
        _check_shape(x, self.in_channels)
        maps: list[Tensor] = self.encoder(x)
        return maps


class Decoder3D(nn.Module):
    """Three upsamplings from the coarsest map to the input's grid; the first two concatenate maps of the encoder."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        stem, first, *_, deepest = channels
        self.reduce = Convolution(deepest, 256)
        self.up4 = UpTransition(256, first)
        self.up2 = UpTransition(first, stem)
        self.up1 = nn.ConvTranspose3d(stem, 32, kernel_size=2, stride=2)
        self.last = Convolution(32, 32)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return (B, 32, X, Y, Z) >= 0 from the five maps of the encoder."""
        stem, first, *_, deepest = features
        x = self.up2(self.up4(self.reduce(deepest), first), stem)
        out: Tensor = self.last(self.up1(x))
        return out


class MedicalNetUNet(UNet, MedicalNet):
    """MedicalNet with a decoder, of which no weights are published."""

    def __init__(self, depth: int = 18, out_channels: int = 1, in_channels: int = 1, *, skips: bool = True) -> None:
        """Build the network.

        Args:
            depth: 10, 18, 34 or 50 layers of the encoder.
            out_channels: channels that the decoder segments or restores.
            in_channels: channels of the image.
            skips: False replaces the encoder's finer maps by zeros in the decoder.

        Raises:
            MethodError: no such depth is published.
        """
        super().__init__(depth, in_channels)
        self.skips = skips
        self.decoder = Decoder3D(self.channels)
        self.segmentation_head = nn.Sequential(nn.Conv3d(32, out_channels, kernel_size=1))

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z) from the five maps of `features`."""
        *fine, deepest = features
        maps = [each if self.skips else torch.zeros_like(each) for each in fine]
        logits: Tensor = self.segmentation_head(self.decoder([*maps, deepest]))
        return logits


class MedicalNetYNet(YNet, MedicalNetUNet):
    """The network with a decoder and a pattern head at its coarsest map."""

    def __init__(self, depth: int, classes: int, in_channels: int = 1) -> None:
        super().__init__(depth, in_channels, in_channels)
        self.clc_out = PatternHead(self.channels[-1], classes, 3)


def _block(depth: int) -> type[BasicBlock] | type[Bottleneck]:
    return Bottleneck if depth == 50 else BasicBlock


def _level(depth: int, inputs: int, width: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    block = _block(depth)
    outputs = width * block.expansion
    shortcut = None if stride == 1 and inputs == outputs else _shortcut(depth, inputs, outputs, stride)
    rest = [block(outputs, width, 1, dilation, None) for _ in range(blocks - 1)]
    return nn.Sequential(block(inputs, width, stride, dilation, shortcut), *rest)


def _shortcut(depth: int, inputs: int, outputs: int, stride: int) -> nn.Module:
    if depth in WITHOUT_WEIGHTS:
        return PaddedShortcut(outputs - inputs, stride)
    return nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm3d(outputs))


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1, dilation: int = 1) -> nn.Conv3d:
    around = dilation * (side // 2)
    return nn.Conv3d(inputs, outputs, side, stride=stride, padding=around, dilation=dilation, bias=False)


def _check_shape(x: Tensor, in_channels: int) -> None:
    shape = tuple(x.shape)
    fits = len(shape) == 5 and shape[1] == in_channels and not any(side % DIVISOR or not side for side in shape[2:])
    if not fits:
        raise MethodError(
            f"MedicalNet takes (B, {in_channels}, X, Y, Z) with X, Y and Z multiples of {DIVISOR}, not {shape}",
            hint="Crop or pad the patch, for example to 64 x 64 x 32",
        )
