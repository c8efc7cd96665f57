"""What a target task puts on a pretrained backbone, all of which is fine-tuned, or none of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sg_bench.networks.backbone import CONVOLUTIONS, Backbone, SegmentationBackbone, global_average

LIGHT_CHANNELS = 8
"""Channels of a `LightSegmenter`, whatever the backbone."""


class TaskModel(nn.Module):
    """A backbone with something on it.

    A frozen backbone keeps its parameters, and in training it normalises by its running statistics and leaves them
    alone. A backbone that was not trained has none: `norm.reestimate` draws them from the task's training crops.
    """

    def __init__(self, backbone: Backbone, *, frozen: bool = False) -> None:
        super().__init__()
        self.frozen = frozen
        self.backbone = backbone.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> TaskModel:
        """Turn to training, or to evaluation; a frozen backbone always stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the backbone's maps, without gradients where it is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.backbone.features(x)


class Classifier(TaskModel):
    """The encoder, global average pooling, and a linear layer with or without a hidden one before it.

    Only the encoder runs. Hand it an encoder rather than a U-Net: a decoder would be trained by nothing, which
    distributed training refuses. Frozen and without a hidden layer it is a linear probe.

    Source: the Models Genesis code puts 512 -> 1024 -> ReLU -> outputs on its 3D encoder.
    """

    def __init__(self, backbone: Backbone, outputs: int, *, hidden: bool = True, frozen: bool = False) -> None:
        """Build the head on `backbone`'s coarsest map; `hidden` adds a layer of twice as many units as channels."""
        super().__init__(backbone, frozen=frozen)
        channels = backbone.channels[-1]
        self.hidden = nn.Linear(channels, 2 * channels) if hidden else None
        self.output = nn.Linear(2 * channels if hidden else channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of images (B, C, X, Y, Z) in [0, 1]."""
        pooled = global_average(self.features(x)[-1])
        if self.hidden is not None:
            pooled = torch.relu(self.hidden(pooled))
        logits: Tensor = self.output(pooled)
        return logits


class Segmenter(TaskModel):
    """A backbone with its decoder, giving logits."""

    backbone: SegmentationBackbone

    def __init__(self, unet: SegmentationBackbone) -> None:
        super().__init__(unet)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z) of images (B, C, X, Y, Z) in [0, 1]."""
        return self.backbone.decode(self.features(x))


class LightSegmenter(TaskModel):
    """A decoder too small to hide what the encoder's features lack, alike for every method: a probe that segments.

    A 1x1 convolution takes each of the encoder's maps to a few channels; enlarged linearly to the image's grid, summed
    and rectified, they go through one 3x3 convolution to the logits.
    """

    def __init__(self, backbone: Backbone, outputs: int, *, frozen: bool = True) -> None:
        """Build the decoder on `backbone`'s maps."""
        super().__init__(backbone, frozen=frozen)
        convolution = CONVOLUTIONS[backbone.dimension]
        self.lateral = nn.ModuleList(convolution(channels, LIGHT_CHANNELS, 1) for channels in backbone.channels)
        self.output = convolution(LIGHT_CHANNELS, outputs, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, X, Y, Z) of images (B, C, X, Y, Z) in [0, 1]."""
        grid = x.shape[2 : 2 + self.backbone.dimension]
        mode = "trilinear" if len(grid) == 3 else "bilinear"
        few = [convolution(found) for convolution, found in zip(self.lateral, self.features(x), strict=True)]
        summed = torch.stack([interpolate(found, size=grid, mode=mode) for found in few]).sum(0)
        logits: Tensor = self.output(torch.relu(summed))
        return logits.reshape(*logits.shape[:2], *x.shape[2:])
