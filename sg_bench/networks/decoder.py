"""A U-Net decoder for the maps of any backbone: any strides and sizes, in two or three dimensions.

From the coarsest map on, each step resizes to the next finer map by nearest neighbours, concatenates it, and convolves
twice. Where a map is missing between two strides, or between the finest map and the image, steps without one halve the
stride. Group norm does not depend on the other images of a batch, and works for any size of map.

Source: Ronneberger et al., "U-Net" (MICCAI 2015); Wu and He, "Group Normalization" (ECCV 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sg_bench.config import SpatialDims

CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
Stride = int | tuple[int, ...]
"""Input voxels along each side for one voxel of a map; one number where all sides have the same."""
MOST_CHANNELS, LEAST_CHANNELS = 320, 8
"""Of a step's output; a step without a map halves the channels of the step before."""
GROUPS = 8
"""Most groups of a group norm."""


class Decoder(Protocol):
    """A module from maps, fine to coarse, to (B, channels, X, Y[, Z]) on the image's grid."""

    channels: int

    def __call__(self, maps: list[Tensor]) -> Tensor:
        """Return the decoded maps; a side that is no multiple of the finest stride is too long."""


@dataclass(frozen=True)
class Step:
    """One step of the decoder."""

    factor: tuple[int, ...]
    """By which the sides grow; with a map, its own grid decides."""
    skip: int
    """Channels of the encoder's map; 0: there is none."""
    outputs: int


class UNetDecoder(nn.Module):
    """The generic decoder.

    Args:
        dimension: spatial dimensions of the maps.
        channels: of each map, fine to coarse.
        strides: of each map, fine to coarse.
        most: most channels of a step's output.
    """

    def __init__(
        self,
        dimension: SpatialDims,
        channels: tuple[int, ...],
        strides: tuple[Stride, ...],
        most: int = MOST_CHANNELS,
    ) -> None:
        super().__init__()
        self.steps = decoder_steps(channels, [on_axes(stride, dimension) for stride in strides], most)
        inputs = (channels[-1], *(step.outputs for step in self.steps))
        self.blocks = nn.ModuleList(
            DecoderStep(dimension, before + step.skip, step.outputs)
            for before, step in zip(inputs, self.steps, strict=False)
        )
        self.channels = inputs[-1]

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return (B, channels, X, Y[, Z]) from the encoder's maps, fine to coarse."""
        *fine, x = maps
        for step, block in zip(self.steps, self.blocks, strict=True):
            skip = fine.pop() if step.skip else None
            own = x.shape[2:]
            grid = skip.shape[2:] if skip is not None else [n * k for n, k in zip(own, step.factor, strict=True)]
            x = x if own == tuple(grid) else interpolate(x, size=tuple(grid), mode="nearest")
            x = block(x if skip is None else torch.cat((x, skip), dim=1))
        return x


class DecoderStep(nn.Sequential):
    """Two convolutions with side 3, each with group norm and ReLU."""

    def __init__(self, dimension: SpatialDims, inputs: int, outputs: int) -> None:
        super().__init__(*_convolution(dimension, inputs, outputs), *_convolution(dimension, outputs, outputs))


def decoder_steps(channels: tuple[int, ...], strides: list[tuple[int, ...]], most: int) -> list[Step]:
    """Return the steps of a decoder, coarse to fine, down to stride 1 on every axis."""
    steps: list[Step] = []
    at, width = strides[-1], channels[-1]
    targets = [*zip(reversed(strides[:-1]), reversed(channels[:-1]), strict=True), ((1,) * len(at), 0)]
    for target, skip in targets:
        while (halved := _halved(at, target)) not in (at, target):
            width = _within(width // 2, most)
            steps.append(Step(_ratio(at, halved), 0, width))
            at = halved
        if skip or at != target:
            width = _within(skip or width // 2, most)
            steps.append(Step(_ratio(at, target), skip, width))
        at = target
    return steps


def _halved(stride: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
    """Return half of a stride on each axis where that leads to the target."""
    return tuple(side if side % (2 * last) else side // 2 for side, last in zip(stride, target, strict=True))


def _ratio(stride: tuple[int, ...], finer: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-side // last) for side, last in zip(stride, finer, strict=True))


def on_axes(stride: Stride, dimension: int) -> tuple[int, ...]:
    """Return a stride for each axis of a map."""
    return stride if isinstance(stride, tuple) else (stride,) * dimension


def _within(width: int, most: int) -> int:
    return max(LEAST_CHANNELS, min(most, width))


def _convolution(dimension: SpatialDims, inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = CONVOLUTIONS[dimension](inputs, outputs, kernel_size=3, padding=1, bias=False)
    return convolution, nn.GroupNorm(math.gcd(outputs, GROUPS), outputs), nn.ReLU()
