"""What a target task puts on a pretrained backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sg_bench.networks.backbone import Backbone, SegmentationBackbone
from sg_bench.networks.unet import global_average


class Classifier(nn.Module):
    """The encoder, global average pooling, and a linear layer with or without a hidden one before it.

    Only the encoder runs. Hand it an `Encoder3D` rather than a `UNet3D`: a decoder would be trained by nothing, which
    distributed training refuses.

    Source: the Models Genesis code puts 512 -> 1024 -> ReLU -> outputs on its 3D encoder.
    """

    def __init__(self, backbone: Backbone, outputs: int, *, hidden: bool = True) -> None:
        """Build the head on `backbone`'s coarsest map; `hidden` adds a layer of twice as many units as channels."""
        super().__init__()
        self.backbone = backbone
        channels = backbone.channels[-1]
        self.hidden = nn.Linear(channels, 2 * channels) if hidden else None
        self.output = nn.Linear(2 * channels if hidden else channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of images (B, C, X, Y[, Z]) in [0, 1]."""
        pooled = global_average(self.backbone.features(x)[-1])
        if self.hidden is not None:
            pooled = torch.relu(self.hidden(pooled))
        logits: Tensor = self.output(pooled)
        return logits


class Segmenter(nn.Module):
    """A backbone with its decoder, giving logits."""

    def __init__(self, unet: SegmentationBackbone) -> None:
        super().__init__()
        self.backbone = unet

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z) of images (B, C, X, Y, Z) in [0, 1]."""
        return self.backbone.decode(self.backbone.features(x))
