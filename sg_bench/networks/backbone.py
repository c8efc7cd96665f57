"""The contract of a backbone, and the U-Nets' restoration and pattern classification on top of it.

Images are (B, C, X, Y, Z) everywhere; a film or a slice has Z = 1. A 2D backbone drops that axis on entry, so its maps
are (B, C, X, Y), and adds it again to what it restores or segments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sg_bench.config import SpatialDims

CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
NORMS: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
FeaturesHook = Callable[[list[Tensor]], None]


class Backbone(nn.Module, ABC):
    """An encoder with declared channels and strides; a subclass implements `encode`, and callers call `features`."""

    dimension: SpatialDims = 3
    """Spatial dimensions of the maps."""
    channels: tuple[int, ...]
    """Channels of each map, fine to coarse."""
    strides: tuple[int, ...]
    """Input voxels along one side for one voxel of each map, fine to coarse."""

    def __init__(self) -> None:
        super().__init__()
        self._features_hooks: OrderedDict[int, FeaturesHook] = OrderedDict()

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """Return one map for each entry of `channels`: (B, channels[i], X / strides[i], Y / strides[i], ...)."""

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the maps of `encode`, after the hooks have been called with them."""
        maps = self.encode(x)
        for hook in self._features_hooks.values():
            hook(maps)
        return maps

    def register_features_hook(self, hook: FeaturesHook) -> RemovableHandle:
        """Call `hook(maps)` after every run of `features`, as `nn.Module.register_forward_hook` does for `forward`.

        The returned handle removes the hook, by `remove()` or at the end of a `with` block.
        """
        handle = RemovableHandle(self._features_hooks)
        self._features_hooks[handle.id] = hook
        return handle


class SegmentationBackbone(Backbone):
    """A backbone with its own decoder."""

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits on the input's grid, (B, out_channels, X, Y, Z), from the maps of `features`."""


class UNet(SegmentationBackbone):
    """A backbone with a decoder that restores images."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored image (B, out_channels, X, Y, Z) in [0, 1]."""
        return torch.sigmoid(self.decode(self.features(x)))


class PatternHead(nn.Module):
    """Classifies the pattern in a patch: convolution, batch norm, ReLU, global average pooling, one linear layer.

    Args:
        channels: of the encoder's coarsest map; the hidden layer has twice as many.
        classes: number of patterns.
        dimension: spatial dimensions of the map.
    """

    def __init__(self, channels: int, classes: int, dimension: SpatialDims) -> None:
        super().__init__()
        self.conv1 = CONVOLUTIONS[dimension](channels, 2 * channels, kernel_size=3, padding=1)
        self.bn1 = NORMS[dimension](2 * channels)
        self.fc1 = nn.Linear(2 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) from the coarsest map (B, channels, X, Y[, Z])."""
        hidden = torch.relu_(self.bn1(self.conv1(x)))
        logits: Tensor = self.fc1(global_average(hidden))
        return logits


class YNet(UNet):
    """A U-Net with a pattern head at its bottleneck: restores and classifies. Subclasses add the U-Net.

    Source: Haghighi et al., arXiv:2007.06959, section 2.
    """

    clc_out: PatternHead

    def classify(self, x: Tensor) -> Tensor:
        """Return the pattern logits (B, classes) alone, without running the decoder."""
        logits: Tensor = self.clc_out(self.features(x)[-1])
        return logits

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the restored image (B, out_channels, X, Y, Z) in [0, 1] and the pattern logits (B, classes)."""
        features = self.features(x)
        return torch.sigmoid(self.decode(features)), self.clc_out(features[-1])


def global_average(x: Tensor) -> Tensor:
    """Return (B, C): the mean of (B, C, ...) over all positions, in two or three dimensions."""
    return x.flatten(2).mean(dim=2)
