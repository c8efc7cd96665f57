"""The patient's pose: an affine and an elastic deformation of the painted anatomy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.phantom.geometry import CHEST_FIELD, Canvas, Vector, VoxelGrid
from sg_bench.data.sources.phantom.noise import upsample

CONTROL_POINTS = (6, 6, 5)


@dataclass(frozen=True)
class Pose:
    """Map from positions in the image to the canonical anatomy."""

    matrix: NDArray[np.float64]
    """3x3: rotation and scale, on canonical coordinates."""
    shift: NDArray[np.float64]
    """(3,), canonical."""
    bend: NDArray[np.float32]
    """(3, *CONTROL_POINTS): elastic displacement, canonical."""


def draw_pose(rng: np.random.Generator, half_field: Vector = CHEST_FIELD, *, amount: float = 1.0) -> Pose:
    """Draw a pose: rotation by 5 degrees (SD) about the long axis and 3 about the others, scaling by 7 %, shift, bend.

    Patients are on average 5 % slimmer than the canonical one, so that few are wider than the field of view.

    Args:
        rng: draws the pose.
        half_field: half the field of view in mm.
        amount: factor on every SD; below 1 for images registered to an atlas.
    """
    x, y, z = np.clip(np.deg2rad(rng.normal(0, np.multiply(amount, (3.0, 3.0, 5.0)))), -0.25, 0.25)
    size = np.diag(np.exp(rng.normal((0.05, 0.05, 0), 0.07 * amount)))
    to_mm = np.diag(half_field)
    return Pose(
        matrix=np.linalg.inv(to_mm) @ _rotation(2, z) @ _rotation(1, y) @ _rotation(0, x) @ size @ to_mm,
        shift=rng.normal(0, 0.05 * amount, 3),
        bend=rng.normal(0, 0.03 * amount, (3, *CONTROL_POINTS)).astype(np.float32),
    )


def deform(canvas: Canvas, pose: Pose) -> Canvas:
    """Return the canvas in `pose`: intensities interpolated linearly, labels by nearest neighbour."""
    from scipy import ndimage

    indices = _sampled_indices(canvas.grid, pose)
    out = Canvas(canvas.grid, canvas.background)
    ndimage.map_coordinates(canvas.image, indices, output=out.image, order=1, mode="nearest")
    ndimage.map_coordinates(canvas.label, indices, output=out.label, order=0, mode="nearest")
    return out


def _sampled_indices(grid: VoxelGrid, pose: Pose) -> NDArray[np.float64]:
    """Return the fractional canonical index of each voxel: (3, x, y, z)."""
    x, y, z = (axis.astype(np.float64) for axis in grid.axes)
    indices = np.empty((3, *grid.shape))
    for axis, (row, shift, size) in enumerate(zip(pose.matrix, pose.shift, grid.shape, strict=True)):
        canonical = row[0] * x + row[1] * y + row[2] * z + shift + upsample(pose.bend[axis], grid.shape)
        indices[axis] = (canonical + 1) / 2 * size - 0.5
    return indices


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    """Return the 3x3 rotation by `angle` (radians) about `axis`."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -matrix[second, first]
    return matrix
