"""Area means of a volume on a coarser grid of the same field of view: each new voxel is the mean of those it touches.

The same numbers, to the bit, as torch's adaptive average pooling, many times faster where regions overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLAB = 1 << 22
"""Voxels that are held in single precision at once."""
Bounds = NDArray[np.int64]
"""First voxel, and that after the last, of each new voxel along one axis, (n, 2)."""


def area_means(volume: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float32]:
    """Return the means of `volume`, float32 of `shape`; no axis may grow. The result never shares memory with it."""
    if tuple(shape) == volume.shape:
        return in_single_precision(volume)
    if volume.shape[2] == 1 < volume.shape[1]:  # a film: its rows, which are longer, become the lines of the loop
        return area_means(volume.swapaxes(1, 2), (shape[0], 1, shape[1])).swapaxes(1, 2)
    x, y, z = (_bounds(old, new) for old, new in zip(volume.shape, shape, strict=True))
    out = np.empty(tuple(shape), np.float32)
    step = max(1, int(SLAB / (volume[0].size * volume.shape[0] / shape[0])))
    for first in range(0, shape[0], step):
        rows = x[first : first + step]
        low, high = rows[0, 0], rows[-1, 1]
        _kernel()(in_single_precision(volume[low:high]), rows - low, y, z, out[first : first + step])
    return out


def in_single_precision(volume: NDArray[Any]) -> NDArray[np.float32]:
    """Return a contiguous copy in single precision; torch converts half precision many times faster than NumPy."""
    import torch

    if volume.dtype != np.float16:
        return np.array(volume, np.float32, order="C")
    out: NDArray[np.float32] = torch.from_numpy(np.array(volume, order="C")).float().numpy()
    return out


@lru_cache(maxsize=1024)
def _bounds(old: int, new: int) -> Bounds:
    """Return which of `old` voxels each of `new` ones touches; the array is shared."""
    number = np.arange(new)
    return np.stack([number * old // new, -(-(number + 1) * old // new)], axis=1)


@cache
def _kernel() -> Callable[..., None]:
    """Return the loop over new voxels, compiled on first use: importing Numba takes long."""
    import numba

    compiled: Callable[..., None] = numba.njit(nogil=True, cache=True, error_model="numpy")(_means)
    return compiled


def _means(image: NDArray[np.float32], x: Bounds, y: Bounds, z: Bounds, out: NDArray[np.float32]) -> None:
    """Fill `out` with the means: sums in the order x, y, z, divided by the extents along x, y, z in turn."""
    for i in range(len(x)):
        sums = out[i]
        sums[:] = 0
        if len(z) == image.shape[2]:  # whole lines at once
            for j in range(len(y)):
                line = sums[j]
                for a in range(x[i, 0], x[i, 1]):
                    for b in range(y[j, 0], y[j, 1]):
                        line += image[a, b]
        else:
            for a in range(x[i, 0], x[i, 1]):
                for j in range(len(y)):
                    for b in range(y[j, 0], y[j, 1]):
                        for k in range(len(z)):
                            total = sums[j, k]
                            for c in range(z[k, 0], z[k, 1]):
                                total += image[a, b, c]
                            sums[j, k] = total
        dx = np.float32(x[i, 1] - x[i, 0])
        for j in range(len(y)):
            dy = np.float32(y[j, 1] - y[j, 0])
            for k in range(len(z)):
                sums[j, k] = sums[j, k] / dx / dy / np.float32(z[k, 1] - z[k, 0])
