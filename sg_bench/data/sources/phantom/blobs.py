"""Irregular blobs, from which nodules, tumours and white-matter lesions are made. Lengths and positions in world mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.phantom.geometry import Box, FloatVolume, VoxelGrid

REACH = 2.0
"""Largest distance of a blob's surface from its centre, in radii."""


def irregular_blob(
    rng: np.random.Generator, grid: VoxelGrid, centre: NDArray[np.float64], radius: float
) -> FloatVolume:
    """Draw a blob and return its coverage of each voxel of `grid`, in [0, 1], with an edge of one voxel.

    Args:
        rng: draws the shape.
        grid: the voxels.
        centre: (3,), world mm.
        radius: mean distance of the surface in mm.
    """
    coverage: FloatVolume = np.zeros(grid.shape, np.float32)
    box = grid.box(centre, REACH * radius + grid.voxel)
    coverage[box] = _coverage(rng, grid, centre, radius, box)
    return coverage


def _coverage(
    rng: np.random.Generator, grid: VoxelGrid, centre: NDArray[np.float64], radius: float, box: Box
) -> NDArray[np.float32]:
    offsets = grid.centres(box) - centre
    stretch = np.exp(rng.normal(0, 0.12, 3))
    distance = np.sqrt((offsets**2 * stretch).sum(axis=-1)) + 1e-3
    surface = radius * _lobulation(rng, offsets / distance[..., None])
    covered: FloatVolume = np.clip((surface - distance) / grid.voxel + 0.5, 0, 1).astype(np.float32)
    return covered


def _lobulation(rng: np.random.Generator, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw the relative radius of the surface in each direction (..., 3), around 1."""
    bulge = np.ones(directions.shape[:-1])
    for _ in range(4):
        pole = rng.normal(0, 1, 3)
        angle = np.arccos(np.clip((directions * (pole / np.linalg.norm(pole))).sum(axis=-1), -1, 1))
        waves, phase = int(rng.integers(1, 4)), rng.uniform(0, 2 * np.pi)
        bulge += rng.uniform(0.05, 0.15) * np.cos(waves * angle + phase)
    return bulge
