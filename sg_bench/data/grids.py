"""Resampling of an array to another grid, axis by axis and slab by slab.

Along each axis a new voxel is a weighted sum of a few old ones, which covers linear interpolation and area means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Preparation

Affine = NDArray[np.float64]

_SAME_SPACING = 1e-4
"""mm; an image whose spacing differs by less is not interpolated."""
_SLAB = 2**22
"""Number of old voxels held in single precision at once (at least those of one new slice)."""


@dataclass(frozen=True)
class GridAxis:
    """Resampling weights along one axis: the new voxels as sums of old ones."""

    first: float
    """Old voxel coordinate of the first new voxel's centre."""
    step: float
    """Distance between new voxels, in old voxels."""
    index: NDArray[np.intp]
    """(new, terms): indices of the old voxels in each sum."""
    weight: NDArray[np.float32]
    """(new, terms): their weights, which sum to 1; unused terms have weight 0."""
    nearest: NDArray[np.intp]
    """(new,): index of the old voxel that contains the new voxel's centre."""

    @property
    def count(self) -> int:
        """Return the number of new voxels."""
        return len(self.nearest)


def new_axes(shape: Sequence[int], affine: Affine, preparation: Preparation, order: Sequence[int]) -> list[GridAxis]:
    """Return the resampling weights of each array axis for the grid of `preparation`.

    Args:
        shape: shape of the array.
        affine: 4x4, voxel indices to world mm.
        preparation: gives `spacing` or `shape` along the axes of the oriented array.
        order: for each axis of the array, the axis of the oriented array that it becomes.
    """
    if preparation.shape is not None:
        wanted = [preparation.shape[axis] for axis in order]
        return [_spanning(size, count) for size, count in zip(shape, wanted, strict=True)]
    own = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = own if preparation.spacing is None else np.asarray(preparation.spacing)[list(order)]
    if np.allclose(own, spacing, rtol=0, atol=_SAME_SPACING):
        return [_kept(size) for size in shape]
    return [_centred(size, float(step)) for size, step in zip(shape, spacing / own, strict=True)]


def native_axes(affine: Affine, orientation: str) -> list[int]:
    """Return, for each axis of an array, the axis that it becomes in `orientation`."""
    from nibabel import orientations as nibabel_orientations

    orientations: Any = nibabel_orientations
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(orientation))
    return [int(axis) for axis in turn[:, 0]]


def placed_on(axes: Sequence[GridAxis], affine: Affine) -> Affine:
    """Return the affine of the new grid."""
    new = affine.copy()
    new[:3, :3] = affine[:3, :3] * [axis.step for axis in axes]
    new[:3, 3] = affine[:3, :3] @ [axis.first for axis in axes] + affine[:3, 3]
    return new


def filled(
    image: NDArray[np.float32], axes: Sequence[GridAxis], scale: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float16]:
    """Return `image` on the new grid, in C order, after `scale` has mapped its values to [0, 1].

    Only one slab at a time is held in single precision, cut across the axis with the largest stride.
    """
    order = sorted(range(3), key=lambda axis: -abs(image.strides[axis]))
    ordered, (deep, *flat) = image.transpose(order), [axes[axis] for axis in order]
    new = np.empty([axis.count for axis in axes], np.float16)
    out = new.transpose(order)
    for start, stop in _slabs(deep, ordered[0].size):
        index, weight = deep.index[start:stop], deep.weight[start:stop]
        low = int(index.min())
        slab = _summed(scale(ordered[low : int(index.max()) + 1]), index - low, weight, axis=0)
        for number, axis in enumerate(flat, 1):
            slab = _summed(slab, axis.index, axis.weight, axis=number)
        np.clip(slab, 0, 1, out=slab)  # rounding may overshoot
        out[start:stop] = slab
    return new


def picked(label: NDArray[np.uint8], axes: Sequence[GridAxis]) -> NDArray[np.uint8]:
    """Return a copy of `label` on the new grid, by nearest-neighbour sampling."""
    return label[np.ix_(*(axis.nearest for axis in axes))]


def _slabs(axis: GridAxis, slice_size: int) -> list[tuple[int, int]]:
    """Return the (start, stop) ranges of new slices that are computed together."""
    depth = max(1, int(_SLAB / slice_size / max(axis.step, axis.index.shape[1] / 8)))
    return list(pairwise([*range(0, axis.count, depth), axis.count]))


def _summed(
    array: NDArray[np.float32], index: NDArray[np.intp], weight: NDArray[np.float32], *, axis: int
) -> NDArray[np.float32]:
    """Return the weighted sums along one axis."""
    if weight.shape[1] == 1 and len(index) == array.shape[axis]:
        return array
    broad: list[Any] = [np.newaxis] * array.ndim
    broad[axis] = slice(None)
    out = array.take(index[:, 0], axis=axis)
    out *= weight[:, 0][tuple(broad)]
    for term in range(1, weight.shape[1]):
        more = array.take(index[:, term], axis=axis)
        more *= weight[:, term][tuple(broad)]
        out += more
    return out


def _kept(size: int) -> GridAxis:
    every = np.arange(size)
    return GridAxis(0.0, 1.0, every[:, np.newaxis], np.ones((size, 1), np.float32), every)


def _centred(size: int, step: float) -> GridAxis:
    """Return the axis of a grid with the old one's centre and, up to rounding, its extent.

    Rounding adds at most a quarter of a new voxel beyond the old edge, so every voxel centre is inside.
    """
    if size == 1:
        return _kept(size)
    count = max(1, round(size / step))
    return _linear(size, (size - 1 - (count - 1) * step) / 2, step, count)


def _spanning(size: int, count: int | None) -> GridAxis:
    """Return the axis of `count` voxels over the same extent as the old one."""
    if count is None or count == size or size == 1:
        return _kept(size)
    step = size / count
    first = (step - 1) / 2
    return _linear(size, first, step, count) if count > size else _averaged(size, first, step, count)


def _linear(size: int, first: float, step: float, count: int) -> GridAxis:
    """Return linear interpolation between the two old voxels next to each new centre, clamped at the edges."""
    at = np.clip(first + step * np.arange(count), 0, size - 1)
    low = np.minimum(at.astype(np.intp), size - 2) if size > 1 else np.zeros(count, np.intp)
    share = at - low
    index = np.stack([low, np.minimum(low + 1, size - 1)], axis=1)
    weight = np.stack([1 - share, share], axis=1).astype(np.float32)
    return GridAxis(first, step, index, weight, np.floor(at + 0.5).astype(np.intp))


def _averaged(size: int, first: float, step: float, count: int) -> GridAxis:
    """Return area means: each old voxel is weighted by the part of it that the new voxel covers."""
    edges = step * np.arange(count + 1)
    low = edges[:-1].astype(np.intp)
    index = low[:, np.newaxis] + np.arange(int(np.ceil(step)) + 1)
    covered = np.minimum(edges[1:, np.newaxis], index + 1) - np.maximum(edges[:-1, np.newaxis], index)
    weight = np.clip(covered, 0, None) / step
    centre = np.floor((np.arange(count) + 0.5) * step).astype(np.intp)
    return GridAxis(first, step, np.minimum(index, size - 1), weight.astype(np.float32), np.minimum(centre, size - 1))
