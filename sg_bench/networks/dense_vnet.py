"""Dense V-Net, the network that NiftyNet published for abdominal CT, on images of three dimensions.

Each block stacks the outputs of its convolutions on its input; the maps are those stacks, at strides 2, 4 and 8. The
image itself, averaged to stride 2, is in the first. The decoder is a convolution of each stack, upsampled to stride 2.

Images are turned to NiftyNet's axes (front, right, up) and scaled from [0, 1] to -1000 to 1000 HU, which its files
expect. Padding is TensorFlow's "same", and upsampling that of TensorFlow 1, whose first voxels coincide. There is no
dropout, and no spatial prior.

Source: Gibson et al., "Automatic Multi-Organ Segmentation on Abdominal CT With Dense V-Networks" (IEEE TMI 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, pad

from sg_bench.networks.backbone import Backbone
from sg_bench.networks.configs import DenseVNetConfig
from sg_bench.networks.decoder import Decoder

NAMES: tuple[tuple[str, str], ...] = (
    (r"^(?:.*/)?DenseVNet/", "/"),
    (r"/conv_/w$", ".conv.weight"),
    (r"/conv_/b$", ".conv.bias"),
    (r"/bn_/gamma$", ".norm.weight"),
    (r"/bn_/beta$", ".norm.bias"),
    (r"/bn_/moving_mean$", ".norm.running_mean"),
    (r"/bn_/moving_variance$", ".norm.running_var"),
    (r"^/batch_norm(?:_\d+)?/gamma$", "norm.weight"),
    (r"^/batch_norm(?:_\d+)?/beta$", "norm.bias"),
    (r"^/batch_norm(?:_\d+)?/moving_mean$", "norm.running_mean"),
    (r"^/batch_norm(?:_\d+)?/moving_variance$", "norm.running_var"),
    (r"^/conv_bn(?:_\d+)?\.", "first."),
    (r"^/conv(?:_\d+)?\.conv\.", "segmentation_head."),
    (r"^/dense_feature_stack_block/", "/dense_feature_stack_block_0/"),
    (r"/conv_bn_relu\.", "/conv_bn_relu_0."),
    (r"^/dense_feature_stack_block_(\d+)/dense_feature_stack_block/conv_bn_relu_(\d+)\.", r"blocks.\1.layers.\2."),
    (r"^/dense_feature_stack_block_(\d+)/conv_bn_relu_0\.", r"decoder.skips.\1."),
    (r"^/dense_feature_stack_block_(\d+)/conv_bn_relu_1\.", r"blocks.\1.down."),
)
"""Patterns of the names in NiftyNet's checkpoints, in order, and ours."""


class DenseConvolution(nn.Module):
    """Convolution without bias and batch norm, and a ReLU unless `linear`."""

    def __init__(self, inputs: int, outputs: int, side: int = 3, stride: int = 1, *, linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, side, stride=stride, bias=False)
        self.norm = nn.BatchNorm3d(outputs)
        self.linear = linear
        total = side - stride
        self.around = (total // 2, total - total // 2) * 3

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, X / stride, Y / stride, Z / stride)."""
        out: Tensor = self.norm(self.conv(pad(x, self.around)))
        return out if self.linear else torch.relu_(out)


class DenseBlock(nn.Module):
    """Convolutions, each of the input and of all outputs before it; `down` halves the stack, if it has channels."""

    def __init__(self, inputs: int, growth: int, layers: int, down: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseConvolution(inputs + growth * each, growth) for each in range(layers))
        self.channels = inputs + growth * layers
        self.down = DenseConvolution(self.channels, down, stride=2) if down else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the stack (B, channels, X, Y, Z)."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class DenseVNet(Backbone):
    """The dense blocks; `build_unet` adds the convolutions of their stacks and the last one."""

    strides = (2, 4, 8)

    def __init__(self, config: DenseVNetConfig) -> None:
        super().__init__()
        self.in_channels, self.multiple, self.skip_channels = config.in_channels, config.multiple, config.skips
        self.norm = nn.BatchNorm3d(config.in_channels)
        self.first = DenseConvolution(config.in_channels, config.width, 5, 2, linear=True)
        self.blocks = nn.ModuleList()
        inputs = config.in_channels + config.width
        for place, (growth, layers) in enumerate(zip(config.growth, config.layers, strict=True)):
            self.blocks.append(DenseBlock(inputs, growth, layers, config.width if place < 2 else 0))
            inputs = config.width
        self.channels = tuple(int(block.channels) for block in self.blocks)  # type: ignore[arg-type]

    def make_decoder(self) -> Decoder:
        """Return the convolutions of the stacks."""
        return StackDecoder(self)

    def make_output(self, channels: int, out_channels: int) -> nn.Module:
        """Return the last convolution, which is computed at stride 2."""
        return Output(channels, out_channels, kernel_size=3, padding=1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the stacks, (B, 45, X/2, Y/2, Z/2), (B, 104, X/4, Y/4, Z/4) and (B, 184, X/8, Y/8, Z/8).

        Args:
            x: (B, in_channels, X, Y, Z), intensities in [0, 1], each side a multiple of 8.

        Raises:
            MethodError: `x` has another shape.
        """
        x = 2000 * self.on_own_axes(x).transpose(2, 3) - 1000
        small = avg_pool3d(x, 3, stride=2, ceil_mode=True)
        maps = [torch.cat([self.norm(small), self.first(x)], dim=1)]
        for place, block in enumerate(self.blocks):
            maps[place] = block(maps[place])
            if block.down is not None:
                maps.append(block.down(maps[place]))  # type: ignore[operator]
        return [each.transpose(2, 3) for each in maps]


class StackDecoder(nn.Module):
    """The image at stride 2, and one convolution of each stack, upsampled to it."""

    def __init__(self, backbone: DenseVNet) -> None:
        super().__init__()
        self.images = backbone.in_channels
        pairs = zip(backbone.channels, backbone.skip_channels, strict=True)
        self.skips = nn.ModuleList(DenseConvolution(inputs, outputs) for inputs, outputs in pairs)
        self.channels = self.images + sum(backbone.skip_channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return (B, channels, X/2, Y/2, Z/2), on NiftyNet's axes."""
        turned = [each.transpose(2, 3) for each in maps]
        shape = turned[0].shape[2:]
        found = [upsampled(skip(each), shape) for skip, each in zip(self.skips, turned, strict=True)]
        return torch.cat([turned[0][:, : self.images], *found], dim=1)


class Output(nn.Conv3d):
    """A convolution at stride 2 on NiftyNet's axes, upsampled to the image."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z)."""
        logits = super().forward(x)
        return upsampled(logits, torch.Size(2 * side for side in logits.shape[2:])).transpose(2, 3)


def upsampled(x: Tensor, shape: torch.Size) -> Tensor:
    """Return (B, C, *shape), linearly interpolated: voxel i is at i * side / new side, as in TensorFlow 1."""
    for axis, side in enumerate(shape, start=2):
        if side != x.shape[axis]:
            weights = _weights(x.shape[axis], side).to(x)
            x = torch.movedim(torch.movedim(x, axis, -1) @ weights, -1, axis)
    return x


def _weights(side: int, new: int) -> Tensor:
    """Return (side, new): the weight of each voxel in each new one; beyond the last, it is repeated."""
    at = torch.arange(new, dtype=torch.float64) * side / new
    low = at.floor().long()
    rest = (at - low)[:, None]
    one = torch.eye(side, dtype=torch.float64)
    return (one[low] * (1 - rest) + one[(low + 1).clamp(max=side - 1)] * rest).T
