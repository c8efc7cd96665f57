"""The skull-stripped brain, painted from the outside to the inside with the signals of one MRI sequence.

Lengths are canonical (geometry.py): one unit is 96, 96 and 80 mm. The anatomy does not depend on the sequence, so that
all sequences of a patient show the same brain.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from sg_bench.data.sources.phantom.geometry import BRAIN_FIELD, Canvas, Ellipsoid, FloatVolume, VoxelGrid, overlap
from sg_bench.data.sources.phantom.noise import smooth_noise
from sg_bench.data.sources.phantom.patient import SIDES, draw_solid
from sg_bench.data.sources.phantom.pose import deform, draw_pose
from sg_bench.data.sources.phantom.streams import PatientIdentity, RandomStream

FINE = 0.04
"""Width of the soft border of small parts."""
REGISTERED = 0.6
"""Factor on the pose: brains are registered to an atlas and vary less in pose than chests."""


class Tissue(IntEnum):
    """Tissue of a voxel; 0 is removed by skull stripping."""

    OUTSIDE = 0
    FLUID = 1
    GREY = 2
    WHITE = 3
    DEEP_GREY = 4


TissueSignal = dict[Tissue, float]
"""Intensity of each tissue in one sequence."""
EllipsoidPair = tuple[Ellipsoid, Ellipsoid]


@dataclass(frozen=True)
class Brain:
    """Anatomy of a patient's brain; pairs are (right, left)."""

    cerebrum: Ellipsoid
    cerebellum: Ellipsoid
    stem: Ellipsoid
    horns: tuple[EllipsoidPair, EllipsoidPair]
    """Lateral ventricle of each side: anterior and posterior part."""
    thalami: EllipsoidPair
    lentiforms: EllipsoidPair
    cortex: float
    """Thickness."""
    phase: float
    """Rotation of the folds about the long axis, in radians."""


def make_brain(identity: PatientIdentity, signal: TissueSignal, grid: VoxelGrid) -> Canvas:
    """Return the patient's healthy brain with intensities `signal` and labels `Tissue`, without blur and noise."""
    brain = draw_brain(identity.generator(RandomStream.BRAIN_BUILD))
    folds = identity.generator(RandomStream.BRAIN_FOLDS)
    canvas = paint_brain(brain, signal, 0.04 * smooth_noise(folds, grid, 22), grid)
    posed = deform(canvas, draw_pose(identity.generator(RandomStream.BRAIN_POSE), BRAIN_FIELD, amount=REGISTERED))
    _close_gaps(posed)
    return posed


def draw_brain(rng: np.random.Generator) -> Brain:
    """Draw the anatomy of a brain."""
    ventricles = np.exp(rng.normal(0, 0.2))
    right, left = (
        (
            draw_solid(rng, (side * 0.10, 0.10, 0.16), (0.075 * ventricles, 0.36, 0.11), place=0.01, size=0.08),
            draw_solid(rng, (side * 0.20, -0.32, 0.05), (0.08 * ventricles, 0.20, 0.10), place=0.01, size=0.08),
        )
        for side in SIDES
    )
    return Brain(
        cerebrum=draw_solid(rng, (0, 0, 0.10), (0.70, 0.86, 0.70), place=0.01, size=0.02, power=2.2),
        cerebellum=draw_solid(rng, (0, -0.48, -0.50), (0.52, 0.36, 0.30), place=0.01, size=0.03, power=2.6),
        stem=draw_solid(rng, (0, -0.16, -0.46), (0.13, 0.13, 0.40), place=0.01, size=0.05),
        horns=(right, left),
        thalami=_pair(rng, (0.13, -0.06, 0.0), (0.11, 0.17, 0.12)),
        lentiforms=_pair(rng, (0.31, 0.10, 0.0), (0.10, 0.21, 0.14)),
        cortex=0.085 + abs(rng.normal(0, 0.01)),
        phase=rng.normal(0, 0.4),
    )


def paint_brain(brain: Brain, signal: TissueSignal, folds: FloatVolume, grid: VoxelGrid) -> Canvas:
    """Return the brain in canonical coordinates.

    Args:
        brain: the anatomy.
        signal: intensity of each tissue.
        folds: outward displacement of the cortex, (x, y, z).
        grid: the voxels.
    """
    canvas = Canvas(grid, background=0)
    cerebrum = _cerebrum(brain, grid)
    _paint(canvas, cerebrum, signal, Tissue.FLUID)
    _paint_hindbrain(canvas, brain, signal, 0.5 * folds)
    _paint_hemispheres(canvas, brain, signal, cerebrum, folds)
    for nucleus in (*brain.thalami, *brain.lentiforms):
        _paint(canvas, nucleus.depth(grid), signal, Tissue.DEEP_GREY)
    _paint_fluid(canvas, brain, signal)
    return canvas


def _close_gaps(brain: Canvas) -> None:
    """Label holes between the parts as fluid, in place."""
    from scipy import ndimage

    outside = brain.label == Tissue.OUTSIDE
    brain.label[ndimage.binary_fill_holes(~outside) & outside] = Tissue.FLUID


def _pair(
    rng: np.random.Generator, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> EllipsoidPair:
    x, y, z = centre
    right, left = (draw_solid(rng, (side * x, y, z), radii, place=0.01, size=0.06) for side in SIDES)
    return right, left


def _paint(canvas: Canvas, depth: FloatVolume, signal: TissueSignal, tissue: Tissue, *, edge: float = FINE) -> None:
    canvas.paint(depth, signal[tissue], tissue, edge=edge)


def _cerebrum(brain: Brain, grid: VoxelGrid) -> FloatVolume:
    """Return the depth inside both hemispheres: a dome with the lowest base at the temporal lobes."""
    _, y, z = grid.axes
    base = 0.5 * np.maximum(np.abs(y - 0.02) - 0.25, 0) - 0.45
    return overlap(brain.cerebrum.depth(grid), z - base)


def _paint_hemispheres(
    canvas: Canvas, brain: Brain, signal: TissueSignal, cerebrum: FloatVolume, folds: FloatVolume
) -> None:
    """Paint the folded cortex, the white matter inside it and the clefts between the lobes."""
    x, y, z = canvas.grid.axes
    gyri = folds + 0.03 * np.sin(9 * np.arctan2(y, x) + 5 * z + brain.phase)
    _paint(canvas, overlap(cerebrum, cerebrum + gyri - 0.03), signal, Tissue.GREY)
    _paint(canvas, overlap(cerebrum, cerebrum + 2 * gyri - 0.03) - brain.cortex, signal, Tissue.WHITE)
    for side in SIDES:
        sylvian = Ellipsoid((side * 0.60, 0.15, -0.02), (0.17, 0.30, 0.03)).depth(canvas.grid)
        _paint(canvas, overlap(sylvian, cerebrum), signal, Tissue.FLUID)
    distance: FloatVolume = np.abs(x)
    above_the_callosum = -Ellipsoid((0, 0, 0.05), (np.inf, 0.40, 0.36)).depth(canvas.grid)
    _paint(canvas, overlap(0.075 - distance, above_the_callosum, cerebrum - 0.03), signal, Tissue.GREY)
    _paint(canvas, overlap(0.018 - distance, above_the_callosum, cerebrum), signal, Tissue.FLUID)


def _paint_hindbrain(canvas: Canvas, brain: Brain, signal: TissueSignal, folds: FloatVolume) -> None:
    """Paint cerebellum, with branching white matter, and brain stem; their soft borders blend into fluid."""
    grid = canvas.grid
    _, y, z = grid.axes
    cerebellum, stem = brain.cerebellum.depth(grid), brain.stem.depth(grid)
    _paint(canvas, cerebellum, signal, Tissue.FLUID)
    _paint(canvas, cerebellum - 0.02, signal, Tissue.GREY)
    leaves = 0.02 * np.sin(30 * np.hypot(y + 0.3, z + 0.5))
    _paint(canvas, overlap(cerebellum, cerebellum + folds + leaves) - 0.13, signal, Tissue.WHITE)
    _paint(canvas, stem + 0.02, signal, Tissue.FLUID)
    _paint(canvas, stem, signal, Tissue.WHITE)


def _paint_fluid(canvas: Canvas, brain: Brain, signal: TissueSignal) -> None:
    """Paint the lateral, the third and the fourth ventricle."""
    for front, back in brain.horns:
        _paint(canvas, np.maximum(front.depth(canvas.grid), back.depth(canvas.grid)), signal, Tissue.FLUID)
    for middle in (
        Ellipsoid((0, 0.0, -0.04), (0.03, 0.17, 0.13)),
        Ellipsoid((0, -0.30, -0.45), (0.08, 0.06, 0.12)),
    ):
        _paint(canvas, middle.depth(canvas.grid), signal, Tissue.FLUID)
