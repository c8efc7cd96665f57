"""How a training film is varied: one sampling grid for its crop, rotation and distortion, one curve for its greys.

Drawing and applying are apart, so that every varied film can be replayed. Films are (x, y, 1) in [0, 1].

Source: the DXC and PXS recipes of the authors' later benchmark (protocol B.5, B.6); where they name a transform without
its settings, those are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.tasks import Augmentation

Film = NDArray[np.float32]
TRIES = 10
"""Draws for a crop that fits into the film; then the whole film is taken."""
ELASTIC_ALPHA, ELASTIC_SIGMA, ELASTIC_SIDE = 120, 6, 224
"""Noise of U[-1, 1] is smoothed by sigma pixels and multiplied by alpha, on a film of so many pixels; on another, so
that pixels move by the same share of its side."""
GRID_STEPS, GRID_LIMIT = 5, 0.3
"""Cells along a side, and how far each may be stretched or shrunk."""
LENS_LIMIT = 0.05
"""Greatest radial distortion at the film's edge."""
CONTRAST = 0.2
"""Greatest change of contrast and of brightness."""
GAMMA = (0.8, 1.2)


@dataclass(frozen=True)
class Variation:
    """What is done to one film."""

    centre: tuple[float, float]
    """Of the crop, as shares of the film's sides."""
    size: tuple[float, float]
    """Of the crop, likewise."""
    angle: float
    """Rotation in radians."""
    mirrored: tuple[bool, bool]
    """Along x and y."""
    moved: NDArray[np.float64] | None
    """(2, x, y): where each pixel of the patch reads besides, as shares of the patch's sides; None: nowhere."""
    gain: float = 1.0
    offset: float = 0.0
    gamma: float = 1.0


def draw_variation(
    settings: Augmentation, flips: tuple[bool, bool, bool], patch: tuple[int, ...], rng: np.random.Generator
) -> Variation:
    """Return a variation for a patch of (x, y, 1) pixels, from `rng` alone."""
    size = _crop_size(settings, rng)
    low, high = (np.asarray(size) / 2, 1 - np.asarray(size) / 2)
    x, y = rng.uniform(low, high).tolist()
    angle = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    mirrored = rng.random(2) < 0.5
    moved = _distortion(patch[:2], rng) if rng.random() < settings.distortion else None
    gain, offset, gamma = _greys(rng) if rng.random() < settings.intensity else (1.0, 0.0, 1.0)
    flipped = (bool(mirrored[0] and flips[0]), bool(mirrored[1] and flips[1]))
    return Variation((x, y), size, angle, flipped, moved, gain, offset, gamma)


def varied(film: NDArray[Any], patch: tuple[int, ...], variation: Variation, *, label: bool = False) -> Film:
    """Return the patch (x, y, 1) that `variation` cuts from a film (x, y, 1).

    Args:
        film: in [0, 1], or a mask of 0 and 1.
        patch: pixels of the result.
        variation: from `draw_variation`.
        label: read the nearest pixel and leave the greys alone; else interpolate linearly. Outside the film is 0.
    """
    from scipy.ndimage import map_coordinates

    places = _places(film.shape, patch, variation)
    order = 0 if label else 1
    plane = np.asarray(film[..., 0], np.float32)
    out: Film = map_coordinates(plane, places, order=order, mode="grid-constant", cval=0.0, prefilter=False)
    if not label:
        out = np.clip(np.clip(out, 0, 1) ** variation.gamma * variation.gain + variation.offset, 0, 1)
    return out[..., None].astype(np.float32)


def _places(shape: tuple[int, ...], patch: tuple[int, ...], variation: Variation) -> NDArray[np.float64]:
    """Return (2, x, y): the film's pixel coordinates that each pixel of the patch reads."""
    unit = [(np.arange(side) + 0.5) / side - 0.5 for side in patch[:2]]
    grid = np.stack(np.meshgrid(*unit, indexing="ij"))
    if variation.moved is not None:
        grid = grid + variation.moved
    grid *= np.where(variation.mirrored, -1.0, 1.0)[:, None, None]
    cosine, sine = math.cos(variation.angle), math.sin(variation.angle)
    turned = np.stack([cosine * grid[0] - sine * grid[1], sine * grid[0] + cosine * grid[1]])
    size, centre, sides = (np.asarray(v, float)[:, None, None] for v in (variation.size, variation.centre, shape[:2]))
    places: NDArray[np.float64] = (centre + size * turned) * sides - 0.5
    return places


def _crop_size(settings: Augmentation, rng: np.random.Generator) -> tuple[float, float]:
    """Return the crop's sides as shares of the film's: the whole film where nothing is cropped."""
    if settings.area:
        for _ in range(TRIES):
            area, aspect = rng.uniform(*settings.area), math.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3)))
            size = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if max(size) <= 1:
                return size
    if rng.random() < settings.zoom:
        side = float(rng.uniform(settings.zoom_least, 1))
        return side, side
    return 1.0, 1.0


def _distortion(patch: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (2, x, y): one of three displacements, as shares of the patch's sides."""
    return (_elastic, _grid, _lens)[int(rng.integers(3))](patch, rng)


def _elastic(patch: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    # Smoothing in the plane shrinks noise by sigma, so alpha as a share of the side has to grow with it.
    scale = np.sqrt(np.prod(patch)) / ELASTIC_SIDE
    alpha, sigma = ELASTIC_ALPHA / ELASTIC_SIDE * scale, [ELASTIC_SIGMA * side / ELASTIC_SIDE for side in patch]
    return np.stack([alpha * gaussian_filter(rng.uniform(-1, 1, patch), sigma) for _ in range(2)])


def _grid(patch: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    nodes = np.linspace(0, 1, GRID_STEPS + 1)
    along = []
    for side in patch:
        steps = 1 + rng.uniform(-GRID_LIMIT, GRID_LIMIT, GRID_STEPS)
        bent = np.concatenate([[0.0], np.cumsum(steps / steps.sum())])
        place = (np.arange(side) + 0.5) / side
        along.append(np.interp(place, nodes, bent) - place)
    return np.stack(np.meshgrid(*along, indexing="ij"))


def _lens(patch: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    unit = np.stack(np.meshgrid(*[(np.arange(side) + 0.5) / side - 0.5 for side in patch], indexing="ij"))
    strength = rng.uniform(-LENS_LIMIT, LENS_LIMIT)
    out: NDArray[np.float64] = unit * strength * 4 * (unit**2).sum(axis=0)
    return out


def _greys(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return gain, offset and gamma: either brightness and contrast change, or gamma does."""
    if rng.random() < 0.5:
        return 1.0, 0.0, float(rng.uniform(*GAMMA))
    gain = float(rng.uniform(1 - CONTRAST, 1 + CONTRAST))
    return gain, float(0.5 * (1 - gain) + rng.uniform(-CONTRAST, CONTRAST)), 1.0
