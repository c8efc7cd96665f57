"""Networks of the target tasks: a head or a decoder on a pretrained backbone, which is fine-tuned or frozen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sg_bench.errors import DataError
from sg_bench.networks.backbone import Backbone, SegmentationBackbone, cropped, global_average
from sg_bench.networks.decoder import CONVOLUTIONS

LIGHT_CHANNELS = 8
"""Channels of the decoder of a `LightSegmenter`, for every backbone."""


class TaskModel(nn.Module):
    """A backbone with a head or a decoder.

    A frozen backbone keeps its parameters and running statistics, and always normalises with the latter. An untrained
    backbone has no statistics: `norm.reestimate` computes them from the task's training crops.
    """

    def __init__(self, backbone: Backbone, *, frozen: bool = False) -> None:
        super().__init__()
        self.frozen = frozen
        self.backbone = backbone.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> TaskModel:
        """Set training or evaluation mode; a frozen backbone always stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the backbone's maps, without gradients if it is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.backbone.features(x)


class Classifier(TaskModel):
    """An encoder, global average pooling, an optional hidden layer, and a linear layer.

    Only the encoder runs. Pass an encoder rather than a U-Net: a decoder would receive no gradients, which distributed
    training rejects. Frozen and without a hidden layer, this is a linear probe.

    Source: the Models Genesis code puts 512 -> 1024 -> ReLU -> outputs on its 3D encoder.
    """

    def __init__(self, backbone: Backbone, outputs: int, *, hidden: bool = True, frozen: bool = False) -> None:
        """Build the head for `backbone`'s coarsest map; `hidden` adds a layer with twice as many units as channels."""
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


def check_different(values: Sequence[float]) -> None:
    """Raise unless a regression has at least two training values.

    Raises:
        DataError: the values are all equal, or there is none.
    """
    if len(set(values)) < 2:
        raise DataError(
            f"a regression needs different training values, and {len(values)} cases have {sorted(set(values))}",
            hint="Check the column that the card names, and its split",
        )


class Regressor(Classifier):
    """A `Classifier` with one output, scaled from standardised values to those of the training cases."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Backbone, *, hidden: bool = True, frozen: bool = False) -> None:
        """Build the head; `set_scale` gives it the mean and the deviation of the training values."""
        super().__init__(backbone, 1, hidden=hidden, frozen=frozen)
        for name, value in (("mean", 0.0), ("deviation", 1.0)):
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def set_scale(self, values: Sequence[float]) -> float:
        """Set the scale to the mean and the standard deviation of the training values, and return the latter.

        Raises:
            DataError: the values are all equal, or there is none.
        """
        check_different(values)
        found = torch.tensor(values, dtype=torch.float64)
        deviation = float(found.std(unbiased=False))
        self.mean.fill_(float(found.mean()))
        self.deviation.fill_(deviation)
        return deviation

    def forward(self, x: Tensor) -> Tensor:
        """Return values (B, 1) of images (B, C, X, Y, Z) in [0, 1], in the unit of the training values."""
        return super().forward(x).float() * self.deviation + self.mean


class Segmenter(TaskModel):
    """A backbone with its own decoder; returns logits."""

    backbone: SegmentationBackbone

    def __init__(self, unet: SegmentationBackbone) -> None:
        super().__init__(unet)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z) of images (B, C, X, Y, Z) in [0, 1]."""
        return cropped(self.backbone.decode(self.features(x)), x)


class LightSegmenter(TaskModel):
    """A probe for segmentation: a decoder too small to compensate for poor features, the same for every method.

    A 1x1 convolution reduces each of the encoder's maps to a few channels; they are interpolated linearly to the
    image's grid, summed and rectified, and one 3x3 convolution returns the logits.
    """

    def __init__(self, backbone: Backbone, outputs: int, *, frozen: bool = True) -> None:
        """Build the decoder for `backbone`'s maps."""
        super().__init__(backbone, frozen=frozen)
        convolution = CONVOLUTIONS[backbone.dimension]
        self.lateral = nn.ModuleList(convolution(channels, LIGHT_CHANNELS, 1) for channels in backbone.channels)
        self.output = convolution(LIGHT_CHANNELS, outputs, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, X, Y, Z) of images (B, C, X, Y, Z) in [0, 1]."""
        grid = x.shape[2 : 2 + self.backbone.dimension]
        mode = "trilinear" if len(grid) == 3 else "bilinear"
        maps = [convolution(features) for convolution, features in zip(self.lateral, self.features(x), strict=True)]
        summed = torch.stack([interpolate(reduced, size=grid, mode=mode) for reduced in maps]).sum(0)
        logits: Tensor = self.output(torch.relu(summed))
        return logits.reshape(*logits.shape[:2], *x.shape[2:])


class LinearSegmenter(TaskModel):
    """A linear probe for segmentation: one linear function of a voxel's features, of which nothing is trained here.

    A voxel's features are all maps of the encoder, interpolated linearly to the image's grid, one after the other.
    """

    def __init__(self, backbone: Backbone) -> None:
        """Build the layers for `backbone`'s maps; `set_weights` gives them their weights."""
        super().__init__(backbone, frozen=True)
        convolution = CONVOLUTIONS[backbone.dimension]
        self.lateral = nn.ModuleList(convolution(channels, 1, 1, bias=False) for channels in backbone.channels)
        self.bias = nn.Parameter(torch.zeros(1))

    def set_weights(self, weight: Tensor, bias: float) -> None:
        """Set the weight of each feature, (sum of the maps' channels,), and the bias."""
        with torch.no_grad():
            parts = torch.split(weight, list(self.backbone.channels))
            for parameter, part in zip(self.lateral.parameters(), parts, strict=True):
                parameter.copy_(part.reshape(parameter.shape))
            self.bias.fill_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, 1, X, Y, Z) of images (B, C, X, Y, Z) in [0, 1]."""
        grid = x.shape[2 : 2 + self.backbone.dimension]
        mode = "trilinear" if len(grid) == 3 else "bilinear"
        maps = [layer(features) for layer, features in zip(self.lateral, self.features(x), strict=True)]
        logits = torch.stack([interpolate(each, size=grid, mode=mode) for each in maps]).sum(0) + self.bias
        return logits.reshape(*logits.shape[:2], *x.shape[2:])
