"""Projection of the chest to a film, as displayed on a workstation.

X-rays are parallel and posterior-anterior, so a film is the sum along y. Absorbing tissue is bright.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.data.sources.phantom.geometry import Canvas, FloatVolume, LabelVolume, VoxelGrid
from sg_bench.data.sources.phantom.organs import Organ

FilmImage = NDArray[np.float32]
"""(columns, rows, 1), from the patient's right to left and from head to feet; grey values in [0, 255]."""

SHOWN = 0.8
"""Fraction of the chest's field of view, from the top, on the film, with little of the abdomen."""
SAMPLES = 48
"""Least number of samples along a ray."""
THINNEST = 8.0
"""Least thickness in mm of pleural air to be segmented."""


@dataclass(frozen=True)
class Exposure:
    """Exposure parameters of a film."""

    penetration: float
    """Absorption per mm of water."""
    noise: FilmImage
    """Added to the absorbed fraction of the rays."""


def film_grid(shape: Shape) -> VoxelGrid:
    """Return the voxels of the chest whose projection has `shape` (columns, rows, 1), coarser along the rays."""
    columns, rows, _ = shape
    return VoxelGrid((columns, max(SAMPLES, columns // 2), round(rows / SHOWN)))


def draw_exposure(rng: np.random.Generator, shape: Shape) -> Exposure:
    """Draw penetration ~ U(.003, .0045) per mm and noise of SD ~ U(.004, .01)."""
    penetration, deviation = rng.uniform(0.003, 0.0045), np.float32(rng.uniform(0.004, 0.01))
    return Exposure(penetration, deviation * rng.standard_normal(shape, dtype=np.float32))


def expose(chest: Canvas, rows: int, exposure: Exposure) -> FilmImage:
    """Return the film: grey values in [0, 255], clipped at the 1st and 99th percentiles."""
    hu = chest.image
    water = np.maximum(hu + 1000, 0) / 1000 + np.maximum(hu - 100, 0) / 1000
    path = water.sum(axis=1) * np.float32(chest.grid.spacing[1])
    absorbed = 1 - np.exp(-exposure.penetration * _as_film(path, rows)) + exposure.noise
    low, high = np.quantile(absorbed, (0.01, 0.99))
    film: FilmImage = (255 * np.clip((absorbed - low) / (high - low), 0, 1)).astype(np.float32)
    return film


def outline_air(chest: Canvas, rows: int) -> LabelVolume:
    """Return the segmentation of visible pleural air: (columns, rows, 1), 1 for pneumothorax.

    As readers do, it follows the edge of the lung: where a ray passes more lung than air, the air is not visible.
    """
    from scipy import ndimage

    air = _thickness(chest, (Organ.PLEURAL_AIR,), rows)
    lung = _thickness(chest, (Organ.LUNG, Organ.VESSEL, Organ.AIRWAY, Organ.CONSOLIDATION), rows)
    most = ndimage.gaussian_filter(air - lung, (1, 1, 0)) > 0
    outlined: LabelVolume = (most & (air >= THINNEST)).astype(np.uint8)
    return outlined


def _thickness(chest: Canvas, organs: tuple[Organ, ...], rows: int) -> FloatVolume:
    """Return the mm of `organs` along each ray, (columns, rows, 1)."""
    return _as_film(np.isin(chest.label, organs).sum(axis=1) * np.float32(chest.grid.spacing[1]), rows)


def _as_film(across: FloatVolume, rows: int) -> FloatVolume:
    """Return a projection (x, z) as a film (columns, rows, 1) in radiological orientation."""
    film: FloatVolume = across[::-1, ::-1][:, :rows, None]
    return film
