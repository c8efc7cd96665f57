"""What a task attaches its head or its decoder to."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """An encoder that says what it yields; our U-Nets are one, published networks are wrapped into one."""

    channels: tuple[int, ...]
    """Channels of each map, fine to coarse."""
    strides: tuple[int, ...]
    """Input voxels along one side for one voxel of each map, fine to coarse."""

    @abstractmethod
    def features(self, x: Tensor) -> list[Tensor]:
        """Return one map for each entry of `channels`: (B, channels[i], X / strides[i], Y / strides[i], ...)."""


class SegmentationBackbone(Backbone):
    """A backbone that brings its own decoder."""

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits on the input's grid, (B, out_channels, X, Y, ...), from the maps of `features`."""
