"""Random fields: smooth ones for texture and deformation, correlated ones for scanner noise."""

from __future__ import annotations

import numpy as np

from sg_bench.config import Shape
from sg_bench.data.sources.phantom.geometry import FloatVolume, VoxelGrid


def smooth_noise(rng: np.random.Generator, grid: VoxelGrid, length: float) -> FloatVolume:
    """Draw a field of SD 1 with a correlation length of about `length` mm."""
    coarse = [int(np.ceil(2 * half / length)) + 1 for half in grid.half_field]
    field = upsample(rng.standard_normal(coarse, dtype=np.float32), grid.shape)
    field /= field.std()
    return field


def scanner_noise(rng: np.random.Generator, grid: VoxelGrid) -> FloatVolume:
    """Draw CT noise in HU: SD 15 to 45, smoothed by .35 to .7 voxels (reconstruction kernel)."""
    from scipy import ndimage

    deviation, grain = rng.uniform(15, 45), rng.uniform(0.35, 0.7)
    noise: FloatVolume = ndimage.gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), grain)
    return noise * np.float32(deviation / noise.std())


def upsample(values: FloatVolume, shape: Shape) -> FloatVolume:
    """Resize `values` to `shape` by linear interpolation with aligned corners."""
    for axis, size in enumerate(shape):
        position = np.linspace(0, values.shape[axis] - 1, size, dtype=np.float32)
        low = np.minimum(position.astype(int), values.shape[axis] - 2)
        weight = (position - low).astype(np.float32).reshape([-1 if axis == other else 1 for other in range(3)])
        below, above = values.take(low, axis), values.take(low + 1, axis)
        values = below + (above - below) * weight
    return values
