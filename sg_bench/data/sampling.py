"""Extraction of cubes from volumes and the rules for their positions. Arrays are (x, y, z) in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import CropRule
from sg_bench.data.area import in_single_precision

CropStart = tuple[int, int, int]
VolumeArray = NDArray[np.floating[Any]]


def cut(volume: NDArray[Any], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Return the cube of `size` voxels at `start`; voxels outside the volume are 0 (air or background).

    The cube of a volume (channels, x, y, z) has all channels.
    """
    channels, grid = volume.shape[:-3], volume.shape[-3:]
    low = [max(first, 0) for first in start]
    high = [min(first + side, whole) for first, side, whole in zip(start, size, grid, strict=True)]
    x, y, z = (slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    inside = np.asarray(volume[..., x, y, z])
    if inside.shape == (*channels, *size):
        return inside
    out = np.zeros((*channels, *size), volume.dtype)
    offsets = [a - first for a, first in zip(low, start, strict=True)]
    x, y, z = (slice(o, o + n) for o, n in zip(offsets, inside.shape[-3:], strict=True))
    out[..., x, y, z] = inside
    return out


def centred_start(centre: Sequence[float], size: Sequence[int]) -> CropStart:
    """Return the start of the cube of `size` with its middle voxel nearest to `centre` (voxel coordinates)."""
    x, y, z = (int(np.floor(c + 0.5)) - side // 2 for c, side in zip(centre, size, strict=True))
    return x, y, z


class CropPlaces:
    """The starts of cubes in one volume that a crop rule allows.

    Args:
        volume: (x, y, z) in [0, 1]; of a memory map only the cubes are read that are looked at for air.
        rule: cube, borders and air.
    """

    def __init__(self, volume: VolumeArray, rule: CropRule) -> None:
        self.volume, self.rule = volume, rule
        ahead = rule.air.look_ahead if rule.air else 0
        spare = (0, 0, ahead)
        self.low = np.array(rule.border)
        free = np.array(volume.shape) - rule.cube - 2 * self.low - np.array(spare)
        # The official rule excludes the last start; along an axis that the cube fills it is the only one.
        filled = (free == 0) & (self.low == 0)
        self.high = self.low + np.where(filled, 0, free - 1)

    @property
    def large_enough(self) -> bool:
        """Return whether the volume has any start (the official rule needs 265 x 265 x 96 voxels)."""
        return bool((self.high >= self.low).all())

    def draw(self, rng: np.random.Generator) -> CropStart:
        """Return a random start inside the borders, regardless of the air criterion."""
        x, y, z = (int(v) for v in rng.integers(self.low, self.high, endpoint=True))
        return x, y, z

    def accepts(self, start: CropStart) -> bool:
        """Return whether the cube at `start` contains enough air."""
        return self.rule.air is None or self.tissue(start) <= self.rule.air.most

    def tissue(self, start: CropStart) -> float:
        """Return the mean count of the cube at `start`: tissue 1, air just before tissue 1/2, other air 0."""
        if self.rule.air is None:
            return 0.0
        deepest, size = self.rule.air.look_ahead - 1, self.rule.cube
        x, y, z = (slice(first, first + side) for first, side in zip(start, size, strict=True))
        # The threshold as it is in half precision; the comparison itself is many times faster in single precision.
        threshold = self.volume.dtype.type(self.rule.air.threshold)
        tissue = in_single_precision(self.volume[x, y, z.start : z.stop + deepest - 1]) >= np.float32(threshold)
        counts = tissue[:, :, : size[2]] * np.int16(deepest)
        for ahead in range(1, deepest):
            further = tissue[:, :, ahead : ahead + size[2]] * np.int16(deepest - ahead)
            np.maximum(counts[:, :, : further.shape[2]], further, out=counts[:, :, : further.shape[2]])
        return int(counts.sum()) / deepest / int(np.prod(size))


def draw_places(volume: VolumeArray, rule: CropRule, count: int, rng: np.random.Generator) -> list[CropStart]:
    """Return up to `count` accepted starts, after at most `rule.tries` draws for each wanted one (protocol C.5)."""
    places = CropPlaces(volume, rule)
    starts: list[CropStart] = []
    if not places.large_enough:
        return starts
    for _ in range(rule.tries * count):
        start = places.draw(rng)
        if places.accepts(start):
            starts.append(start)
            if len(starts) == count:
                break
    return starts
