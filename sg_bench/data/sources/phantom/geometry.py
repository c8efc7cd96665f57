"""Voxel grid, solids as signed depths below their surface, and the canvas on which organs are painted.

Canonical coordinates are right-anterior-superior in half fields of view, so that the volume spans [-1, 1] along x (to
the patient's right), y (anterior) and z (superior); in the chest, one unit is 180, 180 and 144 mm. A depth is in the
same unit and positive inside a solid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape

FloatVolume = NDArray[np.float32]
"""(x, y, z), or broadcastable to it."""
LabelVolume = NDArray[np.uint8]
BoolVolume = NDArray[np.bool_]
PointArray = NDArray[np.float64]
"""(..., 3), mm."""
Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]

CHEST_FIELD: Vector = (180.0, 180.0, 144.0)
"""Half the chest's field of view along x, y, z in mm."""
BRAIN_FIELD: Vector = (96.0, 96.0, 80.0)
"""Half the brain's field of view in mm."""
EDGE = 0.06
"""Width of an organ's soft border, as by partial volume and a scanner's blur."""


@dataclass(frozen=True)
class VoxelGrid:
    """Grid of voxels that fills the field of view."""

    shape: Shape
    half_field: Vector = CHEST_FIELD

    @property
    def spacing(self) -> Vector:
        """Return the voxel size in mm."""
        x, y, z = (2 * half / size for half, size in zip(self.half_field, self.shape, strict=True))
        return x, y, z

    @property
    def voxel(self) -> float:
        """Return the smallest voxel side in mm."""
        return min(self.spacing)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Return the 4x4 affine from voxel indices to mm, RAS+, with the origin at the centre of the field of view."""
        affine = np.diag((*self.spacing, 1.0))
        affine[:3, 3] = self.to_mm(np.zeros(3))
        return affine

    @cached_property
    def axes(self) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
        """Return canonical x, y and z, shaped to broadcast over the volume."""
        x, y, z = (np.linspace(1 / size - 1, 1 - 1 / size, size, dtype=np.float32) for size in self.shape)
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def to_mm(self, indices: NDArray[np.floating] | NDArray[np.integer]) -> PointArray:
        """Return world mm of voxel `indices` (..., 3)."""
        points: PointArray = (indices - self._middle) * np.array(self.spacing)
        return points

    def to_indices(self, points: PointArray) -> NDArray[np.float64]:
        """Return fractional voxel indices of world mm `points` (..., 3)."""
        indices: NDArray[np.float64] = points / np.array(self.spacing) + self._middle
        return indices

    def box(self, centre: NDArray[np.float64], reach: float) -> Box:
        """Return the index range within `reach` mm of `centre` (world mm) along every axis."""
        low = np.ceil(self.to_indices(centre - reach)).clip(0).astype(int)
        high = np.floor(self.to_indices(centre + reach)).astype(int) + 1
        x, y, z = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
        return x, y, z

    def centres(self, box: Box) -> PointArray:
        """Return the voxel centres in `box` in world mm: (x, y, z, 3)."""
        ranges = (np.arange(*part.indices(size)) for part, size in zip(box, self.shape, strict=True))
        return self.to_mm(np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1))

    @property
    def _middle(self) -> NDArray[np.float64]:
        return (np.array(self.shape) - 1) / 2


@dataclass(frozen=True)
class Ellipsoid:
    """A superellipsoid; an infinite radius gives a cylinder along that axis."""

    centre: Vector
    radii: Vector
    power: float = 2.0
    """Exponent: 2 for an ellipsoid, more for a more box-like shape."""

    def depth(self, grid: VoxelGrid) -> FloatVolume:
        """Return the depth below the surface: exact at the centre along the thinnest axis, approximate elsewhere."""
        terms = [
            np.abs((axis - centre) / radius) ** self.power
            for axis, centre, radius in zip(grid.axes, self.centre, self.radii, strict=True)
            if np.isfinite(radius)
        ]
        total = sum(terms[1:], start=terms[0])
        radial = np.sqrt(total) if self.power == 2 else total ** (1 / self.power)
        return np.asarray((1 - radial) * min(self.radii), dtype=np.float32)


def pillar(grid: VoxelGrid, x: float, y: float, radius: float) -> FloatVolume:
    """Return the depth inside an upright cylinder."""
    across, along, _ = grid.axes
    depth: FloatVolume = radius - np.hypot(across - x, along - y)
    return depth


def overlap(*depths: FloatVolume) -> FloatVolume:
    """Return the depth inside the intersection of solids."""
    out = depths[0]
    for depth in depths[1:]:
        out = np.minimum(out, depth)
    return out


def soft(depth: FloatVolume, edge: float = EDGE) -> FloatVolume:
    """Return the coverage of each voxel, in [0, 1]: 0.5 on the surface, with a linear ramp of width `edge`."""
    coverage: FloatVolume = np.clip(0.5 + depth / edge, 0, 1)
    return coverage


class Canvas:
    """A volume and its label map, on which parts are painted over each other.

    Args:
        grid: the voxels.
        background: initial value: -1000 HU (air) in CT.
    """

    def __init__(self, grid: VoxelGrid, background: float = -1000) -> None:
        self.grid = grid
        self.background = background
        self.image: FloatVolume = np.full(grid.shape, background, np.float32)
        """HU, or intensities of an MRI sequence."""
        self.label: LabelVolume = np.zeros(grid.shape, np.uint8)

    def paint(
        self, depth: FloatVolume, value: float | FloatVolume, part: int | None = None, *, edge: float = EDGE
    ) -> None:
        """Paint a solid of `value`, given by its depth."""
        self.cover(soft(depth, edge), value, part)

    def cover(self, coverage: FloatVolume, value: float | FloatVolume, part: int | None = None) -> None:
        """Blend `value` in by `coverage` in [0, 1]; voxels with coverage above 0.5 get the label `part`, if given."""
        self.image += (value - self.image) * coverage
        if part is not None:
            np.copyto(self.label, np.uint8(part), where=coverage > 0.5)
