"""Resampling of an array to another grid and another orientation.

Along each axis a new voxel is a weighted sum of a few old ones, which covers linear interpolation and area means. The
loops are in `kernels`, which is imported on first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Preparation

Affine = NDArray[np.float64]
AxisTurn = NDArray[np.intp]
"""(3, 2): for each axis of an array the axis that it becomes, and 1, or -1 if it is reversed (nibabel's)."""

_SAME_SPACING = 1e-4
"""mm; an image whose spacing differs by less is not interpolated."""
_BLOCK = 128
"""Most new slices that are computed together."""
_CACHED = 2**17
"""Old voxels of a block that fit into the processor's cache."""


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


def new_axes(shape: Sequence[int], affine: Affine, preparation: Preparation, turn: AxisTurn) -> list[GridAxis]:
    """Return the resampling weights of each array axis for the grid of `preparation`.

    Args:
        shape: shape of the array.
        affine: 4x4, voxel indices to world mm.
        preparation: gives `spacing` or `shape` along the axes of the turned array.
        turn: how the array is turned.
    """
    order = turn[:, 0].tolist()
    if preparation.shape is not None:
        wanted = [preparation.shape[axis] for axis in order]
        return [_spanning(size, count) for size, count in zip(shape, wanted, strict=True)]
    own = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = own if preparation.spacing is None else np.asarray(preparation.spacing)[order]
    if np.allclose(own, spacing, rtol=0, atol=_SAME_SPACING):
        return [_kept(size) for size in shape]
    return [_centred(size, float(step)) for size, step in zip(shape, spacing / own, strict=True)]


def turn_to(orientation: str, affine: Affine) -> AxisTurn:
    """Return how an array with this affine is turned to `orientation`."""
    return _turn_to(orientation, affine.astype(np.float64).tobytes())


@lru_cache
def _turn_to(orientation: str, affine: bytes) -> AxisTurn:
    """Return the same for the bytes of an affine, which all films of a data set may share."""
    from nibabel import orientations as nibabel_orientations

    orientations: Any = nibabel_orientations
    old = orientations.io_orientation(np.frombuffer(affine).reshape(4, 4))
    return np.asarray(orientations.ornt_transform(old, orientations.axcodes2ornt(orientation)), dtype=np.intp)


def placed_on(axes: Sequence[GridAxis], affine: Affine, turn: AxisTurn) -> Affine:
    """Return the affine of the new grid, turned."""
    from nibabel import orientations as nibabel_orientations

    orientations: Any = nibabel_orientations
    new = affine.copy()
    new[:3, :3] = affine[:3, :3] * [axis.step for axis in axes]
    new[:3, 3] = affine[:3, :3] @ [axis.first for axis in axes] + affine[:3, 3]
    if np.array_equal(turn, [[0, 1], [1, 1], [2, 1]]):
        return new
    turned: Affine = new @ orientations.inv_ornt_aff(turn, [axis.count for axis in axes])
    return turned


def filled(
    image: NDArray[np.float32], axes: Sequence[GridAxis], window: tuple[np.float32, np.float32], turn: AxisTurn
) -> NDArray[np.float16]:
    """Return `image` on the new grid and turned, in C order, with the values of `window` mapped to 0 and 1.

    Axes are summed one after the other, from the largest stride to the smallest.
    """
    from sg_bench.data.kernels import resample

    order, new = _memory_order(image), _empty_turned(axes, turn, np.float16)
    ordered = np.ascontiguousarray(image.transpose(order), dtype=np.float32)
    deep, middle, inner = (axes[axis] for axis in order)
    width = _padded(ordered.shape[2])
    block, reach = _block_of(deep.index, width)
    resample(
        ordered,
        *window,
        ((deep.index, deep.weight), (middle.index, middle.weight), (inner.index, inner.weight)),
        new.view(np.uint16).reshape(-1),
        _places(new, order, turn),
        np.empty((reach, width), np.float32),
        np.empty((block, middle.index.shape[1], width), np.float32),
        np.empty((block, width), np.float32),
        np.zeros((ordered.shape[2], block), np.float32),
        np.empty(block, np.float32),
    )
    return new


def picked(label: NDArray[np.uint8], axes: Sequence[GridAxis], turn: AxisTurn) -> NDArray[np.uint8]:
    """Return a copy of `label` on the new grid and turned, in C order, by nearest-neighbour sampling."""
    from sg_bench.data.kernels import pick

    order, new = _memory_order(label), _empty_turned(axes, turn, np.uint8)
    deep, middle, inner = (axes[axis].nearest for axis in order)
    places = _places(new, order, turn)
    pick(np.ascontiguousarray(label.transpose(order)), (deep, middle, inner), new.reshape(-1), places)
    return new


def _memory_order(array: NDArray[Any]) -> list[int]:
    """Return the axes by decreasing stride; axes of one voxel, whose stride means nothing, are second."""
    order = sorted(range(3), key=lambda axis: -abs(array.strides[axis]))
    first, *others = sorted(order, key=lambda axis: array.shape[axis] == 1)
    return [first, *sorted(others, key=lambda axis: array.shape[axis] > 1)]


def _empty_turned(axes: Sequence[GridAxis], turn: AxisTurn, kind: type[Any]) -> NDArray[Any]:
    return np.empty([axes[axis].count for axis in np.argsort(turn[:, 0])], kind)


def _places(new: NDArray[Any], order: Sequence[int], turn: AxisTurn) -> tuple[int, int, int, int]:
    """Return where in memory the first voxel of the unturned array is, and the steps along its axes in `order`."""
    steps = [new.strides[axis] // new.itemsize * direction for axis, direction in turn.tolist()]
    first = -sum(min(0, step) * (new.shape[axis] - 1) for step, axis in zip(steps, turn[:, 0].tolist(), strict=True))
    deep, middle, inner = (steps[axis] for axis in order)
    return first, deep, middle, inner


def _padded(width: int) -> int:
    """Return a length for rows of which many are read side by side: an odd number of cache lines of 16 values."""
    return 16 * (-(-width // 16) | 1)


def _block_of(index: NDArray[np.intp], width: int) -> tuple[int, int]:
    """Return how many new slices are computed together, and how many old ones they reach over at most."""
    block = min(_BLOCK, len(index))
    while True:
        reach = max(int(np.ptp(index[start : start + block])) + 1 for start in range(0, len(index), block))
        if block == 1 or reach * width <= _CACHED:
            return block, reach
        block = -(-block // 2)


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
    used = int(np.flatnonzero(weight.any(axis=0))[-1]) + 1
    index = np.ascontiguousarray(np.minimum(index, size - 1)[:, :used])
    return GridAxis(
        first, step, index, np.ascontiguousarray(weight[:, :used], dtype=np.float32), np.minimum(centre, size - 1)
    )
