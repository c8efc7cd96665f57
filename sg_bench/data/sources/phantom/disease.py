"""What the findings of a film do to the chest, before it is posed and projected.

Lengths are canonical (geometry.py), but for radii of spots, which are in mm. Only the heart's size changes the
build; all else is painted over the healthy chest, inside the lungs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sg_bench.data.sources.phantom.blobs import irregular_blob
from sg_bench.data.sources.phantom.geometry import (
    CHEST_FIELD,
    Canvas,
    Ellipsoid,
    FloatVolume,
    Vector,
    VoxelGrid,
    overlap,
    soft,
)
from sg_bench.data.sources.phantom.organs import FINDINGS, Organ
from sg_bench.data.sources.phantom.patient import SIDES, Patient, Thorax

AIR = -1000.0
FLUID = 15.0
CALCIUM = 250.0
"""HU: nodules are old and partly calcified, or a film of so few pixels would not show them."""


@dataclass(frozen=True)
class Spot:
    """A round lesion: a nodule, or the middle of a consolidation."""

    centre: Vector
    radius: float
    """In mm."""


@dataclass(frozen=True)
class Retreat:
    """A pneumothorax: the lung of one side shrinks towards its root, and air takes its place."""

    side: int
    across: float
    """Share of its width that the lung loses."""
    down: float
    """Share of its height."""


@dataclass(frozen=True)
class Disease:
    """How strongly, and where, each finding shows; None and 1 for those that are absent."""

    heart: float = 1.0
    """Width of the heart, in that of the healthy one."""
    effusion: tuple[int, float] | None = None
    """Side, and height of the fluid above the lung's lowest point."""
    nodules: tuple[Spot, ...] = ()
    pneumothorax: Retreat | None = None
    consolidation: Spot | None = None


def draw_disease(rng: np.random.Generator, findings: tuple[int, ...]) -> Disease:
    """Draw the disease behind `findings` (1 or 0 for each of `FINDINGS`).

    All findings are drawn, and those that are absent dropped, so that one does not change another.
    """
    heart = rng.uniform(1.4, 1.65)
    effusion = (_side(rng), rng.uniform(0.45, 0.75))
    nodules = tuple(_nodule(rng) for _ in range(2))[: rng.integers(1, 3)]
    pneumothorax = Retreat(_side(rng), rng.uniform(0.16, 0.36), rng.uniform(0.10, 0.25))
    consolidation = _consolidation(rng)
    shown = dict(zip(FINDINGS, findings, strict=True))
    return Disease(
        heart=heart if shown["Cardiomegaly"] else 1.0,
        effusion=effusion if shown["Effusion"] else None,
        nodules=nodules if shown["Nodule"] else (),
        pneumothorax=pneumothorax if shown["Pneumothorax"] else None,
        consolidation=consolidation if shown["Consolidation"] else None,
    )


def with_heart(patient: Patient, size: float) -> Patient:
    """Return the patient with a heart `size` times as wide; depth and height, which show less, grow half as much."""
    heart = patient.thorax.heart
    (x, y, z), (width, depth, height) = heart.centre, heart.radii
    grown = replace(
        heart,
        centre=(x - 0.4 * (size - 1) * width, y, z - 0.2 * (size - 1) * height),
        radii=(width * size, depth * (1 + size) / 2, height * (1 + size) / 2),
    )
    return replace(patient, thorax=replace(patient.thorax, heart=grown))


def paint_disease(
    rng: np.random.Generator, canvas: Canvas, lungs: tuple[FloatVolume, FloatVolume], thorax: Thorax, disease: Disease
) -> None:
    """Paint all findings but the heart's into the canonical chest, in place.

    Args:
        rng: draws the outlines.
        canvas: the healthy chest.
        lungs: depth inside the right and the left lung, as it is without disease.
        thorax: that of the patient.
        disease: what to paint.
    """
    lung = soft(np.maximum(*lungs), 0.05)
    patch, blobs = rng.spawn(2)
    if disease.consolidation:
        _paint_consolidation(patch, canvas, lung, disease.consolidation)
    for spot in disease.nodules:
        blob = irregular_blob(blobs, canvas.grid, np.multiply(spot.centre, CHEST_FIELD), spot.radius)
        canvas.cover(blob * lung, np.maximum(canvas.image, np.float32(CALCIUM)), Organ.NODULE)
    if disease.pneumothorax:
        _paint_pneumothorax(canvas, lungs, thorax, disease.pneumothorax)
    if disease.effusion:
        _paint_effusion(canvas, lungs, *disease.effusion)


def _side(rng: np.random.Generator) -> int:
    return SIDES[int(rng.integers(2))]


def _nodule(rng: np.random.Generator) -> Spot:
    """Draw a nodule beside the mediastinum, above any fluid and inside what a pneumothorax leaves of the lung."""
    centre = (_side(rng) * rng.uniform(0.30, 0.42), rng.uniform(-0.15, 0.15), rng.uniform(0.12, 0.40))
    return Spot(centre, rng.uniform(14, 20))


def _consolidation(rng: np.random.Generator) -> Spot:
    centre = (_side(rng) * rng.uniform(0.36, 0.50), rng.uniform(-0.2, 0.2), rng.uniform(-0.10, 0.45))
    return Spot(centre, CHEST_FIELD[0] * rng.uniform(0.24, 0.34))


def _paint_consolidation(rng: np.random.Generator, canvas: Canvas, lung: FloatVolume, spot: Spot) -> None:
    """Paint a patch of lung that fluid has filled: no sharp border, and most vessels drown in it."""
    blob = irregular_blob(rng, canvas.grid, np.multiply(spot.centre, CHEST_FIELD), spot.radius)
    radius = spot.radius / CHEST_FIELD[0]
    inner = Ellipsoid(spot.centre, (radius, 1.2 * radius, radius)).depth(canvas.grid)
    canvas.cover(0.85 * lung * blob * soft(inner, 0.25), 0, Organ.CONSOLIDATION)


def _paint_pneumothorax(
    canvas: Canvas, lungs: tuple[FloatVolume, FloatVolume], thorax: Thorax, retreat: Retreat
) -> None:
    """Paint air where the lung was, the pleura's line, and the rest of the lung a little denser."""
    index = SIDES.index(retreat.side)
    chest, kept = lungs[index], _retracted(thorax.lungs[index], retreat, canvas.grid)
    canvas.image += 120 * retreat.across * soft(overlap(kept, chest), 0.05)
    canvas.paint(overlap(chest, -kept), AIR, Organ.PLEURAL_AIR, edge=0.05)
    line = soft(0.014 - np.abs(kept + 0.014), 0.02) * soft(chest - 0.03, 0.05)
    canvas.cover(0.5 * line, 20)


def _retracted(lung: Ellipsoid, retreat: Retreat, grid: VoxelGrid) -> FloatVolume:
    """Return the depth inside the lung that is left: its root and its base stay where they were."""
    (x, y, z), (width, depth, height) = lung.centre, lung.radii
    left = Ellipsoid(
        (x - retreat.side * retreat.across * width, y, z - retreat.down * height),
        (width * (1 - retreat.across), depth, height * (1 - retreat.down)),
        lung.power,
    )
    return left.depth(grid)


def _paint_effusion(canvas: Canvas, lungs: tuple[FloatVolume, FloatVolume], side: int, height: float) -> None:
    """Paint fluid up to a level that climbs along the chest wall."""
    x, _, z = canvas.grid.axes
    chest = lungs[SIDES.index(side)]
    level = height - 0.55 + 0.5 * np.maximum(side * x - 0.42, 0)
    canvas.paint(overlap(chest, level - z), FLUID, Organ.PLEURAL_FLUID)
