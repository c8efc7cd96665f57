"""Space: the voxel grid, solids as depth below their surface, and the canvas that organs are painted on.

Canonical space is right-anterior-superior and measured in half fields of view, so the volume spans [-1, 1] along
x (to the patient's right), y (to the front) and z (upwards); in the chest, one unit is 180, 180 and 144 mm. A depth is
positive inside a solid and in the same unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape

FloatVolume = NDArray[np.float32]
"""(x, y, z), or anything that broadcasts to it."""
LabelVolume = NDArray[np.uint8]
BoolVolume = NDArray[np.bool_]
PointArray = NDArray[np.float64]
"""(..., 3), mm."""
Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]

CHEST_FIELD: Vector = (180.0, 180.0, 144.0)
"""Half the chest's field of view along x, y, z in mm."""
BRAIN_FIELD: Vector = (96.0, 96.0, 80.0)
"""Half the brain's."""
EDGE = 0.06
"""Width over which an organ's border fades: partial volume and a real scanner's blur."""


@dataclass(frozen=True)
class VoxelGrid:
    """Voxel centres that fill the field of view."""

    shape: Shape
    half_field: Vector = CHEST_FIELD

    @property
    def spacing(self) -> Vector:
        """Return the voxel size in mm."""
        x, y, z = (2 * half / size for half, size in zip(self.half_field, self.shape, strict=True))
        return x, y, z

    @property
    def voxel(self) -> float:
        """Return the finest voxel side in mm."""
        return min(self.spacing)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Return the 4x4 map from voxel indices to mm, RAS+, with (0, 0, 0) mm in the middle of the field."""
        affine = np.diag((*self.spacing, 1.0))
        affine[:3, 3] = self.to_mm(np.zeros(3))
        return affine

    @cached_property
    def axes(self) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
        """Return canonical x, y and z, each shaped to broadcast over the volume."""
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
        """Return the part of the volume within `reach` mm of `centre` (world mm) along every axis."""
        low = np.ceil(self.to_indices(centre - reach)).clip(0).astype(int)
        high = np.floor(self.to_indices(centre + reach)).astype(int) + 1
        x, y, z = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
        return x, y, z

    def places(self, box: Box) -> PointArray:
        """Return the world mm of all voxel centres of `box`: (x, y, z, 3)."""
        ranges = (np.arange(*part.indices(size)) for part, size in zip(box, self.shape, strict=True))
        return self.to_mm(np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1))

    @property
    def _middle(self) -> NDArray[np.float64]:
        return (np.array(self.shape) - 1) / 2


@dataclass(frozen=True)
class Ellipsoid:
    """A superellipsoid; a radius of infinity makes a cylinder along that axis."""

    centre: Vector
    radii: Vector
    power: float = 2.0
    """2 is an ellipsoid, more is boxier."""

    def depth(self, grid: VoxelGrid) -> FloatVolume:
        """Return the depth below the surface, exact at the centre of the thinnest axis and roughly so elsewhere."""
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
    """Return how far each voxel is covered, in [0, 1]: half on the surface, fading over `edge`."""
    coverage: FloatVolume = np.clip(0.5 + depth / edge, 0, 1)
    return coverage


class Canvas:
    """A volume and its label map, painted part over part.

    Args:
        grid: its voxels.
        background: what surrounds the patient: -1000 HU of air in CT.
    """

    def __init__(self, grid: VoxelGrid, background: float = -1000) -> None:
        self.grid = grid
        self.background = background
        self.image: FloatVolume = np.full(grid.shape, background, np.float32)
        """HU, or a sequence's intensities."""
        self.label: LabelVolume = np.zeros(grid.shape, np.uint8)

    def paint(
        self, depth: FloatVolume, value: float | FloatVolume, part: int | None = None, *, edge: float = EDGE
    ) -> None:
        """Lay a solid of `value` over what is there."""
        self.cover(soft(depth, edge), value, part)

    def cover(self, coverage: FloatVolume, value: float | FloatVolume, part: int | None = None) -> None:
        """Blend `value` in by `coverage` (0 to 1); voxels covered by more than half become `part`, if one is given."""
        self.image += (value - self.image) * coverage
        if part is not None:
            np.copyto(self.label, np.uint8(part), where=coverage > 0.5)
