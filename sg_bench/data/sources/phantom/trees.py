"""Vessels and bronchi: branching tubes in mm, rasterised to the volume.

Roots and first directions are common to all patients; further bends and forks are random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.phantom.geometry import CHEST_FIELD, FloatVolume, PointArray, Vector, VoxelGrid
from sg_bench.data.sources.phantom.patient import SIDES

STEP = 5.0
"""Distance between the balls of a tube, mm."""
SPREAD = 0.55
"""Mean tangent of the branching angle."""
THINNEST = 1.75
"""Least radius (mm) of a branch that forks."""


@dataclass(frozen=True)
class Tubes:
    """Tubes as sequences of balls."""

    centres: PointArray
    """(n, 3), mm."""
    radii: NDArray[np.float64]
    """(n,), mm."""


@dataclass(frozen=True)
class _Branch:
    start: NDArray[np.float64]
    direction: NDArray[np.float64]
    length: float
    radius: float


_LOBES: tuple[tuple[Vector, float], ...] = (
    ((0.7, -0.10, 0.9), 55.0),
    ((0.6, -0.25, -0.9), 60.0),
    ((0.9, 0.70, 0.1), 50.0),
    ((1.0, -0.60, -0.2), 50.0),
    ((0.8, 0.45, -0.7), 50.0),
)
"""Direction from the hilum (x away from the midline) and length in mm of each first branch."""
_BRONCHI: tuple[tuple[Vector, float], ...] = (((0.8, 0.0, 0.6), 50.0), ((0.8, -0.1, -0.8), 60.0))


def lung_vessels(rng: np.random.Generator) -> Tubes:
    """Draw the vessels of both lungs: five trees per side, from the hilum to the periphery."""
    balls: list[NDArray[np.float64]] = []
    for side in SIDES:
        hilum = _mm((side * 0.20, -0.08, 0.08 + rng.normal(0, 0.02)))
        for direction, length in _LOBES:
            heading = _mirrored(direction, side) + rng.normal(0, 0.12, 3)
            _grow(rng, _Branch(hilum, heading, length, radius=10.5), 4, balls)
    return _tubes(balls)


def bronchi(rng: np.random.Generator) -> Tubes:
    """Draw both main bronchi, from the carina, and two lobar trees per side."""
    balls: list[NDArray[np.float64]] = []
    for side in SIDES:
        main = _Branch(_mm((0, -0.2, 0.24)), _mirrored((1.0, 0.0, -0.35), side), length=40.0, radius=8.5)
        _grow(rng, main, 0, balls)
        for direction, length in _BRONCHI:
            heading = _mirrored(direction, side) + rng.normal(0, 0.1, 3)
            _grow(rng, _Branch(_mm((side * 0.17, -0.2, 0.1)), heading, length, radius=7.0), 2, balls)
    return _tubes(balls)


def rasterise(grid: VoxelGrid, tubes: Tubes, *, widen: float = 0.0) -> FloatVolume:
    """Return the coverage of each voxel, in [0, 1], with an edge of one voxel; `widen` mm is added to the radii."""
    out: FloatVolume = np.zeros(grid.shape, np.float32)
    spacing = np.array(grid.spacing)
    radii = tubes.radii + widen
    reach = (radii[:, None] + grid.voxel / 2) / spacing
    centres = grid.to_indices(tubes.centres)
    first = np.maximum(np.ceil(centres - reach), 0).astype(int)
    last = np.minimum(np.floor(centres + reach) + 1, grid.shape).astype(int)
    for index in np.flatnonzero((first < last).all(axis=1)):
        box = tuple(slice(low, high) for low, high in zip(first[index], last[index], strict=True))
        x, y, z = (
            ((np.arange(part.start, part.stop) - centre) * step) ** 2
            for part, centre, step in zip(box, centres[index], spacing, strict=True)
        )
        distance = np.sqrt(x[:, None, None] + y[:, None] + z)
        window = out[box]
        np.maximum(window, (radii[index] - distance) / grid.voxel + 0.5, out=window, casting="same_kind")
    return np.minimum(out, 1)


def _grow(rng: np.random.Generator, branch: _Branch, generations: int, balls: list[NDArray[np.float64]]) -> None:
    """Append the branch's balls (x, y, z, radius; mm), then fork `generations` times."""
    steps = max(3, int(branch.length / STEP))
    point, heading = branch.start, _unit(branch.direction)
    for step in range(steps):
        point = point + heading * STEP
        heading = _unit(heading + rng.normal(0, 0.05, 3))
        balls.append(np.append(point, branch.radius * (1 - 0.25 * step / steps)))
    if generations == 0 or branch.radius < THINNEST:
        return
    lateral = rng.normal(0, 1, 3)
    lateral = _unit(lateral - lateral.dot(heading) * heading)
    for sign in (1, -1):
        turned = heading + sign * lateral * rng.uniform(0.6 * SPREAD, 1.4 * SPREAD)
        length, radius = branch.length * rng.uniform(0.65, 0.9), branch.radius * rng.uniform(0.62, 0.82)
        _grow(rng, _Branch(point, turned, length, radius), generations - 1, balls)


def _tubes(balls: list[NDArray[np.float64]]) -> Tubes:
    table = np.stack(balls)
    return Tubes(table[:, :3], table[:, 3])


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.sqrt((vector * vector).sum())
    return unit


def _mirrored(direction: Vector, side: int) -> NDArray[np.float64]:
    return np.array(direction) * (side, 1, 1)


def _mm(canonical: Vector) -> NDArray[np.float64]:
    return np.array(canonical) * CHEST_FIELD
