"""Simulation of the MRI scanner: contrast of the sequences, blur, bias field, noise and arbitrary units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sg_bench.data.sources.phantom.brain import Tissue, TissueSignal
from sg_bench.data.sources.phantom.geometry import Canvas, FloatVolume
from sg_bench.data.sources.phantom.noise import smooth_noise
from sg_bench.data.sources.phantom.tumours import Lesion, Tumour, brain_space

BLUR = 0.5
"""SD of the point spread function, in voxels."""


MriSequence = Literal["flair", "t1", "t1ce", "t2"]
"""MRI sequence; t1ce is T1 after contrast medium."""
SEQUENCES: tuple[MriSequence, ...] = ("flair", "t1", "t1ce", "t2")
"""In the order of their random streams."""


@dataclass(frozen=True)
class Contrast:
    """Intensities of tissues and lesions in one image; white matter in T1 is about .6."""

    tissues: TissueSignal
    lesions: dict[Lesion, float]
    spots: float


_TISSUES = (Tissue.FLUID, Tissue.GREY, Tissue.WHITE, Tissue.DEEP_GREY)
_LESIONS = (Lesion.OEDEMA, Lesion.ENHANCING, Lesion.NECROSIS)
_MEANS: dict[str, tuple[tuple[float, ...], tuple[float, ...], float]] = {
    "flair": ((0.12, 0.50, 0.40, 0.46), (0.78, 0.70, 0.45), 0.78),
    "t1": ((0.15, 0.43, 0.62, 0.50), (0.38, 0.36, 0.24), 0.48),
    "t1ce": ((0.15, 0.45, 0.60, 0.52), (0.40, 0.92, 0.26), 0.48),
    "t2": ((0.95, 0.56, 0.38, 0.45), (0.80, 0.68, 0.88), 0.76),
}
"""Mean intensities of tissues, lesions and white-matter lesions, in the order above."""


def draw_contrast(rng: np.random.Generator, sequence: MriSequence) -> Contrast:
    """Draw the contrast of one image: tissues and lesions vary, and so does the visibility of lesions."""
    tissues, lesions, spots = _MEANS[sequence]
    shown = np.array(tissues) * np.exp(rng.normal(0, 0.04, len(tissues)))
    strength = rng.uniform(0.65, 1.1)
    around = 0.45
    faint = around + strength * (np.array([*lesions, spots]) + rng.normal(0, 0.03, len(lesions) + 1) - around)
    return Contrast(
        dict(zip(_TISSUES, shown.tolist(), strict=True)),
        dict(zip(_LESIONS, faint[:-1].tolist(), strict=True)),
        float(faint[-1]),
    )


def add_lesions(canvas: Canvas, contrast: Contrast, spots: FloatVolume, tumour: Tumour | None) -> None:
    """Paint white-matter lesions and tumour over the brain, in place; tissue labels are not changed."""
    canvas.cover(spots, contrast.spots)
    if tumour is not None:
        canvas.cover(tumour.whole, contrast.lesions[Lesion.OEDEMA])
        canvas.cover(tumour.core, contrast.lesions[Lesion.ENHANCING])
        canvas.cover(tumour.necrosis, contrast.lesions[Lesion.NECROSIS])


def scan(rng: np.random.Generator, canvas: Canvas) -> FloatVolume:
    """Return the image in scanner units, (x, y, z): above 0 in the brain and exactly 0 outside."""
    from scipy import ndimage

    grid = canvas.grid
    image = ndimage.gaussian_filter(canvas.image, BLUR) + 0.015 * smooth_noise(rng, grid, 9)
    image *= np.maximum(1 + 0.08 * smooth_noise(rng, grid, 110), 0.5)
    deviation = np.float32(rng.uniform(0.012, 0.035))
    real, imaginary = deviation * rng.standard_normal((2, *grid.shape), dtype=np.float32)
    magnitude = np.hypot(np.maximum(image, 0) + real, imaginary)
    units = np.float32(500 * np.exp(rng.normal(0, 0.4)))
    scanned: FloatVolume = np.where(brain_space(canvas), units * magnitude, np.float32(0))
    return scanned
