"""The contract of a backbone, and the restoration and pattern classification on top of it.

A registered network is a `Backbone` that is built from its configuration. With a decoder it becomes a `UNet`: one of
its own, as the papers' networks have, or else a generic one (`networks/decoder.py`).

Images are (B, C, X, Y, Z) everywhere; a film or a slice has Z = 1. A 2D backbone drops that axis on entry, so its maps
are (B, C, X, Y), and adds it again to what it restores or segments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sg_bench.config import SpatialDims
from sg_bench.errors import MethodError
from sg_bench.networks.decoder import CONVOLUTIONS, Decoder, Stride, UNetDecoder

NORMS: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
FeaturesHook = Callable[[list[Tensor]], None]


class Backbone(nn.Module, ABC):
    """An encoder with declared channels and strides; a subclass implements `encode`, and callers call `features`.

    The names of its tensors that start with `DECODER` belong to a decoder, those with `HEADS` to a head of the
    pretraining, and all others to the encoder.
    """

    DECODER: ClassVar[tuple[str, ...]] = ("decoder.", "segmentation_head.")
    OUTPUT: ClassVar[tuple[str, ...]] = ("segmentation_head.",)
    """The last layer of the decoder, which a task with other output channels replaces."""
    HEADS: ClassVar[tuple[str, ...]] = ("clc_out.",)

    dimension: SpatialDims = 3
    """Spatial dimensions of the maps."""
    in_channels: int = 1
    """Channels of the images."""
    channels: tuple[int, ...]
    """Channels of each map, fine to coarse."""
    strides: tuple[Stride, ...]
    """Of each map, fine to coarse."""
    multiple: tuple[int, ...] = (1, 1, 1)
    """What each side of an image must be a multiple of, for `on_own_axes`."""

    def __init__(self) -> None:
        super().__init__()
        self._features_hooks: OrderedDict[int, FeaturesHook] = OrderedDict()

    @classmethod
    def build(cls, config: Any) -> Self:
        """Return the encoder that a `NetworkConfig` describes."""
        return cls(config)  # type: ignore[call-arg]  # a subclass takes its config

    @classmethod
    def build_unet(cls, config: Any, out_channels: int = 1, *, skips: bool = True) -> UNet:
        """Return the encoder with a decoder: that of `make_decoder`, unless a subclass has a U-Net of its own."""
        combined: Any = _combined(WithDecoder, cls)
        unet: UNet = combined(config, out_channels, skips=skips)
        return unet

    @classmethod
    def build_ynet(cls, config: Any, classes: int) -> YNet:
        """Return the U-Net with a head that classifies `classes` patterns."""
        combined: Any = _combined(WithDecoderAndHead, cls)
        ynet: YNet = combined(config, classes)
        return ynet

    def make_decoder(self) -> Decoder:
        """Return a new decoder for the maps of `features`: a generic U-Net decoder unless a subclass has its own."""
        return UNetDecoder(self.dimension, self.channels, self.strides)

    def make_output(self, channels: int, out_channels: int) -> nn.Module:
        """Return the layer from the decoder's channels to logits on the image's grid: a 1x1 convolution."""
        return CONVOLUTIONS[self.dimension](channels, out_channels, kernel_size=1)

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """Return one map for each entry of `channels`: (B, channels[i], X / strides[i], Y / strides[i], ...).

        A side that is no multiple of a stride is divided and rounded up.
        """

    def on_own_axes(self, x: Tensor) -> Tensor:
        """Return images (B, in_channels, X, Y, Z) as they are, or in two dimensions without their last axis.

        Raises:
            MethodError: they have another shape.
        """
        shape = tuple(x.shape)
        fits = len(shape) == 5 and shape[1] == self.in_channels and (self.dimension == 3 or shape[4] == 1)
        if not fits or any(not side or side % each for side, each in zip(shape[2:], self.multiple, strict=True)):
            multiples = " x ".join(map(str, self.multiple[: self.dimension]))
            last = "Z" if self.dimension == 3 else "1"
            raise MethodError(
                f"{type(self).__name__} takes (B, {self.in_channels}, X, Y, {last}) with sides that are multiples of "
                f"{multiples}, not {shape}",
                hint="Crop or pad the images, or change the network's settings",
            )
        return x if self.dimension == 3 else x[..., 0]

    def forward(self, x: Tensor) -> Any:
        """Return the coarsest map, (B, channels[-1], X / strides[-1], ...)."""
        return self.features(x)[-1]

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
        """Return logits on the input's grid, (B, out_channels, X, Y, Z), from the maps of `features`.

        Where a side is no multiple of the finest map's stride, it is too long: `cropped` shortens it.
        """

    def segment(self, x: Tensor) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z) of images (B, in_channels, X, Y, Z)."""
        return cropped(self.decode(self.features(x)), x)


class UNet(SegmentationBackbone):
    """A backbone with a decoder that restores images."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored image (B, out_channels, X, Y, Z) in [0, 1]."""
        return torch.sigmoid(self.segment(x))


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
        return torch.sigmoid(cropped(self.decode(features), x)), self.clc_out(features[-1])


class WithDecoder(UNet):
    """The U-Net of any backbone that is built from its config: encoder, `make_decoder` and `make_output`."""

    def __init__(self, config: Any, out_channels: int | None = None, *, skips: bool = True) -> None:
        """Build the network, by default with as many output channels as images have.

        Without `skips` the decoder gets zeros in place of the finer maps.
        """
        super().__init__(config)  # type: ignore[call-arg]  # the backbone's
        self.skips = skips
        self.decoder = self.make_decoder()
        self.segmentation_head = self.make_output(self.decoder.channels, out_channels or self.in_channels)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Return logits (B, out_channels, X, Y, Z) from the maps of `features`."""
        *fine, deepest = features
        maps = [each if self.skips else torch.zeros_like(each) for each in fine]
        logits: Tensor = self.segmentation_head(self.decoder([*maps, deepest]))
        return logits if self.dimension == 3 else logits[..., None]


class WithDecoderAndHead(YNet, WithDecoder):
    """The Y-Net of any backbone: `WithDecoder`, and a pattern head on the coarsest map."""

    def __init__(self, config: Any, classes: int) -> None:
        super().__init__(config)
        self.clc_out = PatternHead(self.channels[-1], classes, self.dimension)


@cache
def _combined(part: type[UNet], backbone: type[Backbone]) -> type[Backbone]:
    """Return the class of a backbone with a decoder; its tensors have the same names as those of the backbone."""
    return type(f"{backbone.__name__}{part.__name__}", (part, backbone), {"__doc__": part.__doc__})


def cropped(found: Tensor, image: Tensor) -> Tensor:
    """Return `found` (B, C, X', Y', Z') on the grid of `image` (B, ..., X, Y, Z), where each X' >= X."""
    if found.shape[2:] == image.shape[2:]:
        return found
    return found[tuple(slice(None, side) for side in (*found.shape[:2], *image.shape[2:]))]


def global_average(x: Tensor) -> Tensor:
    """Return (B, C): the mean of (B, C, ...) over all positions, in two or three dimensions."""
    return x.flatten(2).mean(dim=2)
