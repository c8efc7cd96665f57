"""Painting of a film's findings into the chest, before pose and projection.

Lengths are canonical (geometry.py), except for radii of lesions, which are in mm. Only the size of the heart changes
the anatomy; all other findings are painted over the healthy chest, inside the lungs.
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
"""HU of nodules, which are partly calcified: others would not be visible on films of so few pixels."""


@dataclass(frozen=True)
class RoundLesion:
    """A round lesion: a nodule, or the centre of a consolidation."""

    centre: Vector
    radius: float
    """In mm."""


@dataclass(frozen=True)
class LungCollapse:
    """A pneumothorax: the lung of one side shrinks towards its root and is replaced by air."""

    side: int
    across: float
    """Fraction of its width by which the lung shrinks."""
    down: float
    """Fraction of its height by which the lung shrinks."""


@dataclass(frozen=True)
class Disease:
    """Extent and position of each finding; None, () or 1 if absent."""

    heart: float = 1.0
    """Width of the heart relative to the healthy one."""
    effusion: tuple[int, float] | None = None
    """Side, and height of the fluid above the lung's lowest point."""
    nodules: tuple[RoundLesion, ...] = ()
    pneumothorax: LungCollapse | None = None
    consolidation: RoundLesion | None = None


def draw_disease(rng: np.random.Generator, findings: tuple[int, ...]) -> Disease:
    """Draw the disease for `findings` (1 or 0 for each of `FINDINGS`).

    All findings are drawn and absent ones discarded, so that one does not affect the draw of another.
    """
    heart = rng.uniform(1.4, 1.65)
    effusion = (_side(rng), rng.uniform(0.45, 0.75))
    nodules = tuple(_nodule(rng) for _ in range(2))[: rng.integers(1, 3)]
    pneumothorax = LungCollapse(_side(rng), rng.uniform(0.16, 0.36), rng.uniform(0.10, 0.25))
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
    """Return the patient with a heart `size` times as wide; depth and height grow half as much."""
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
    """Paint all findings except cardiomegaly into the canonical chest, in place.

    Args:
        rng: draws the outlines.
        canvas: the healthy chest.
        lungs: depth inside the healthy right and left lung.
        thorax: the patient's thorax.
        disease: what to paint.
    """
    lung = soft(np.maximum(*lungs), 0.05)
    patch, blobs = rng.spawn(2)
    if disease.consolidation:
        _paint_consolidation(patch, canvas, lung, disease.consolidation)
    for lesion in disease.nodules:
        blob = irregular_blob(blobs, canvas.grid, np.multiply(lesion.centre, CHEST_FIELD), lesion.radius)
        canvas.cover(blob * lung, np.maximum(canvas.image, np.float32(CALCIUM)), Organ.NODULE)
    if disease.pneumothorax:
        _paint_pneumothorax(canvas, lungs, thorax, disease.pneumothorax)
    if disease.effusion:
        _paint_effusion(canvas, lungs, *disease.effusion)


def _side(rng: np.random.Generator) -> int:
    return SIDES[int(rng.integers(2))]


def _nodule(rng: np.random.Generator) -> RoundLesion:
    """Draw a nodule near the mediastinum, above any effusion and inside a lung collapsed by pneumothorax."""
    centre = (_side(rng) * rng.uniform(0.30, 0.42), rng.uniform(-0.15, 0.15), rng.uniform(0.12, 0.40))
    return RoundLesion(centre, rng.uniform(14, 20))


def _consolidation(rng: np.random.Generator) -> RoundLesion:
    centre = (_side(rng) * rng.uniform(0.36, 0.50), rng.uniform(-0.2, 0.2), rng.uniform(-0.10, 0.45))
    return RoundLesion(centre, CHEST_FIELD[0] * rng.uniform(0.24, 0.34))


def _paint_consolidation(rng: np.random.Generator, canvas: Canvas, lung: FloatVolume, lesion: RoundLesion) -> None:
    """Paint fluid-filled lung without a sharp border, which covers most vessels."""
    blob = irregular_blob(rng, canvas.grid, np.multiply(lesion.centre, CHEST_FIELD), lesion.radius)
    radius = lesion.radius / CHEST_FIELD[0]
    inner = Ellipsoid(lesion.centre, (radius, 1.2 * radius, radius)).depth(canvas.grid)
    canvas.cover(0.85 * lung * blob * soft(inner, 0.25), 0, Organ.CONSOLIDATION)


def _paint_pneumothorax(
    canvas: Canvas, lungs: tuple[FloatVolume, FloatVolume], thorax: Thorax, collapse: LungCollapse
) -> None:
    """Paint pleural air, the pleural line, and the collapsed lung with higher density."""
    index = SIDES.index(collapse.side)
    chest, kept = lungs[index], _collapsed(thorax.lungs[index], collapse, canvas.grid)
    canvas.image += 120 * collapse.across * soft(overlap(kept, chest), 0.05)
    canvas.paint(overlap(chest, -kept), AIR, Organ.PLEURAL_AIR, edge=0.05)
    line = soft(0.014 - np.abs(kept + 0.014), 0.02) * soft(chest - 0.03, 0.05)
    canvas.cover(0.5 * line, 20)


def _collapsed(lung: Ellipsoid, collapse: LungCollapse, grid: VoxelGrid) -> FloatVolume:
    """Return the depth inside the collapsed lung; root and base keep their positions."""
    (x, y, z), (width, depth, height) = lung.centre, lung.radii
    left = Ellipsoid(
        (x - collapse.side * collapse.across * width, y, z - collapse.down * height),
        (width * (1 - collapse.across), depth, height * (1 - collapse.down)),
        lung.power,
    )
    return left.depth(grid)


def _paint_effusion(canvas: Canvas, lungs: tuple[FloatVolume, FloatVolume], side: int, height: float) -> None:
    """Paint fluid up to a level that rises along the chest wall."""
    x, _, z = canvas.grid.axes
    chest = lungs[SIDES.index(side)]
    level = height - 0.55 + 0.5 * np.maximum(side * x - 0.42, 0)
    canvas.paint(overlap(chest, level - z), FLUID, Organ.PLEURAL_FLUID)
