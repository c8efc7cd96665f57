"""Loops over the voxels of a scan, compiled by Numba: resampling, nearest voxels and sums of slices.

They release the GIL, and the compiled code is cached on disk, so only the first run on a machine compiles. Working
memory is passed in by `grids`.

A new grid is computed in blocks of new slices across the axis with the largest stride ("deep"), row by row of the
second ("middle"), so that all sums but the last run along contiguous rows ("inner") in the processor's cache. Then the
rows of a block are transposed once, and the last sums and the writing run along the block: the arrays of stores are
contiguous along the axis that changes slowest in most files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import float32, int64, uint8, uint16
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
AxisTerms = tuple[Indices, Floats]
"""(new, terms): the old voxels of each sum along an axis, consecutive or one several times, and their weights."""
Kernel = TypeVar("Kernel")

types: Any = numba.types
_READ = {kind: types.Array(kind, 3, "C", readonly=True) for kind in (float32, uint8)}
_TERMS = types.Tuple((int64[:, ::1], float32[:, ::1]))
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_NORMAL = np.float32(2**-14)
"""Least normal number of half precision."""


def _compiled(*signature: Any, **options: Any) -> Callable[[Kernel], Kernel]:
    njit: Any = numba.njit
    return njit(*signature, nogil=True, cache=True, error_model="numpy", **options)  # type: ignore[no-any-return]


@_compiled(forceinline=True)
def _half_bits(value: np.float32) -> np.uint16:
    """Return the bits in half precision of a value in [0, 1], rounded to nearest, ties to even."""
    bits = np.float32(value).view(np.int32)
    odd = (bits >> np.int32(13)) & np.int32(1)
    normal = np.uint32(bits - np.int32(112 << 23) + np.int32(0xFFF) + odd) >> np.uint32(13)
    subnormal = np.uint32(np.float32(value + _HALF).view(np.int32) - np.int32(0x3F000000))  # the sum rounds to 2**-24
    return np.uint16(subnormal) if value < _NORMAL else np.uint16(normal)


@_compiled(forceinline=True)
def _from_half_bits(bits: np.uint16) -> np.float32:
    """Return the value of the bits of a positive number in half precision."""
    normal = np.int32((np.int32(bits) << np.int32(13)) + np.int32(112 << 23)).view(np.float32)
    return normal if bits >= 1024 else np.float32(bits) * np.float32(2**-24)


@_compiled(forceinline=True)
def _map(row: Floats, low: np.float32, high: np.float32, out: Floats) -> None:
    """Map [low, high] to [0, 1], clipped at both ends."""
    width = high - low
    for i in range(len(row)):
        value = row[i]
        value = value if value > low else low
        value = value if value < high else high
        out[i] = (value - low) / width


@_compiled(forceinline=True)
def _sum(rows: Floats, index: Indices, first: int, weight: Floats, out: Floats) -> None:
    """Write the weighted sum of some rows; `index` counts from `first`."""
    row, share = rows[index[0] - first], weight[0]
    for i in range(len(out)):
        out[i] = row[i] * share
    for term in range(1, len(index)):
        row, share = rows[index[term] - first], weight[term]
        for i in range(len(out)):
            out[i] += row[i] * share


@_compiled(forceinline=True)
def _store(values: Floats, out: NDArray[np.uint16], at: int, step: int, count: int) -> None:
    """Write values in half precision; rounding may have overshot [0, 1]."""
    for k in range(count):
        value = values[k]
        value = value if value > _ZERO else _ZERO
        value = value if value < _ONE else _ONE
        values[k] = value
    if step == 1:  # spelled out, for vector instructions
        for k in range(count):
            out[at + k] = _half_bits(values[k])
    else:
        for k in range(count):
            out[at + k * step] = _half_bits(values[k])


@_compiled(
    types.void(
        _READ[float32],
        float32,
        float32,
        types.UniTuple(_TERMS, 3),
        uint16[::1],
        types.UniTuple(int64, 4),
        float32[:, ::1],
        float32[:, :, ::1],
        float32[:, ::1],
        float32[:, ::1],
        float32[::1],
    )
)
def resample(
    image: Floats,
    low: np.float32,
    high: np.float32,
    axes: tuple[AxisTerms, AxisTerms, AxisTerms],
    out: NDArray[np.uint16],
    places: tuple[int, int, int, int],
    rows: Floats,
    ring: Floats,
    mixed: Floats,
    turned: Floats,
    values: Floats,
) -> None:
    """Map the intensities of an image to [0, 1], and sum them to new voxels along deep, middle and inner axis.

    Args:
        image: (deep, middle, inner).
        low: value that becomes 0.
        high: value that becomes 1.
        axes: old voxels and weights of each sum.
        out: bits of the new image.
        places: where its first voxel is, and the distances of voxels along the three axes.
        rows: working memory, (old slices of a block, at least inner): mapped rows.
        ring: (block, terms of the middle axis, at least inner): sums along the deep axis; an old row stays while the
            following new ones need it.
        mixed: (block, at least inner): sums along the middle axis.
        turned: (inner, block): the same, transposed.
        values: (block,): sums along the inner axis.
    """
    (deep, deep_weight), (middle, middle_weight), (inner, inner_weight) = axes
    block, kept, width = ring.shape[0], ring.shape[1], image.shape[2]
    held = np.empty(kept, np.int64)
    for start in range(0, len(deep), block):
        count = min(block, len(deep) - start)
        part = deep[start : start + count]
        first, last = part.min(), part.max()
        held[:] = -1
        for row in range(len(middle)):
            for term in range(kept):
                old = middle[row, term]
                slot = old % kept
                if held[slot] != old:
                    held[slot] = old
                    for each in range(first, last + 1):
                        _map(image[each, old], low, high, rows[each - first])
                    for k in range(count):
                        _sum(rows, part[k], first, deep_weight[start + k], ring[k, slot, :width])
            for k in range(count):
                _sum(ring[k], middle[row] % kept, 0, middle_weight[row], mixed[k, :width])
            for i in range(width):
                for k in range(count):
                    turned[i, k] = mixed[k, i]
            for column in range(len(inner)):
                _sum(turned, inner[column], 0, inner_weight[column], values)
                at = places[0] + start * places[1] + row * places[2] + column * places[3]
                _store(values, out, at, places[1], count)


@_compiled(types.void(_READ[uint8], types.UniTuple(int64[::1], 3), uint8[::1], types.UniTuple(int64, 4)))
def pick(
    label: NDArray[np.uint8],
    axes: tuple[Indices, Indices, Indices],
    out: NDArray[np.uint8],
    places: tuple[int, int, int, int],
) -> None:
    """Write the old voxels with the given indices along the three axes; `out` and `places` are as for `resample`."""
    deep, middle, inner = axes
    for start in range(0, len(deep), 64):
        stop = min(start + 64, len(deep))
        for row in range(len(middle)):
            for column in range(len(inner)):
                at = places[0] + row * places[2] + column * places[3]
                for k in range(start, stop):
                    out[at + k * places[1]] = label[deep[k], middle[row], inner[column]]


@_compiled(types.void(types.Array(uint16, 2, "C", readonly=True), float32[:, ::1], float32[:, ::1]))
def sum_slices(slices: NDArray[np.uint16], weight: Floats, out: Floats) -> None:
    """Add to each row of `out` the slices, given as bits in half precision, with its row of weights."""
    for cell in range(len(weight)):
        for number in range(len(slices)):
            share = weight[cell, number]
            if share > 0:
                for i in range(slices.shape[1]):
                    out[cell, i] += _from_half_bits(slices[number, i]) * share


@_compiled(types.void(types.Array(uint8, 2, "C", readonly=True), float32[:, ::1]))
def turn_film(pixels: NDArray[np.uint8], out: Floats) -> None:
    """Write (rows, columns) as (columns, rows), 16 rows at once: one cache line of `out`."""
    for first in range(0, pixels.shape[0], 16):
        last = min(first + 16, pixels.shape[0])
        for column in range(pixels.shape[1]):
            for row in range(first, last):
                out[column, row] = pixels[row, column]
