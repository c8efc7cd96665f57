"""Augmentation of 2D training images: crop, rotation and distortion in one resampling, then an intensity transform.

Sampling random parameters and applying them are separate functions. Images are (x, y, 1) in [0, 1].

Source: the DXC and PXS recipes of the authors' later benchmark (protocol B.5, B.6). Where they name a transform without
its settings, the settings are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.tasks import Augmentation

MAX_DRAWS = 10
"""Most draws of a crop that fits into the image; after them the whole image is used."""
ELASTIC_ALPHA, ELASTIC_SIGMA, ELASTIC_SIDE = 120, 6, 224
"""Noise of U[-1, 1] is smoothed by sigma pixels and multiplied by alpha in an image of this side; in others, pixels
move by the same share of the side."""
GRID_STEPS, GRID_LIMIT = 5, 0.3
"""Cells along a side, and the greatest relative change of a cell's length."""
LENS_LIMIT = 0.05
"""Greatest radial distortion at the image's edge."""
CONTRAST = 0.2
"""Greatest change of contrast and of brightness."""
GAMMA = (0.8, 1.2)


@dataclass(frozen=True)
class AugmentationParams:
    """Random parameters of one image's augmentation."""

    centre: tuple[float, float]
    """Centre of the crop, in shares of the image's sides."""
    size: tuple[float, float]
    """Size of the crop, in shares of the image's sides."""
    angle: float
    """Rotation in radians."""
    flipped: tuple[bool, bool]
    """Whether it is mirrored along x and y."""
    displacement: NDArray[np.float64] | None
    """(2, x, y): displacement at which each pixel of the patch takes its value, in shares of the patch's sides."""
    gain: float = 1.0
    offset: float = 0.0
    gamma: float = 1.0


def sample_augmentation(
    settings: Augmentation, flips: tuple[bool, bool, bool], patch: tuple[int, ...], rng: np.random.Generator
) -> AugmentationParams:
    """Return random parameters for a patch of (x, y, 1) pixels, drawn from `rng` alone; only `flips` are mirrored."""
    size = _crop_size(settings, rng)
    low, high = (np.asarray(size) / 2, 1 - np.asarray(size) / 2)
    x, y = rng.uniform(low, high).tolist()
    angle = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    drawn = rng.random(2) < 0.5
    displacement = None
    if rng.random() < settings.distortion:
        distortion = (_elastic, _grid, _lens)[int(rng.integers(3))]
        displacement = distortion(patch[:2], rng)
    gain, offset, gamma = _intensity(rng) if rng.random() < settings.intensity else (1.0, 0.0, 1.0)
    flipped = (bool(drawn[0] and flips[0]), bool(drawn[1] and flips[1]))
    return AugmentationParams((x, y), size, angle, flipped, displacement, gain, offset, gamma)


def apply_augmentation(
    image: NDArray[Any], patch: tuple[int, ...], params: AugmentationParams, *, label: bool = False
) -> NDArray[np.float32]:
    """Return the augmented patch (x, y, 1) of an image (x, y, 1), or of each channel of (channels, x, y, 1).

    Args:
        image: intensities in [0, 1], or a mask of 0 and 1.
        patch: pixels of the result.
        params: from `sample_augmentation`.
        label: take the nearest pixel's value and change no intensities; else interpolate linearly. Outside of the image
            is 0.
    """
    if image.ndim == 4:
        return np.stack([apply_augmentation(channel, patch, params, label=label) for channel in image])
    from scipy.ndimage import map_coordinates

    coordinates = _coordinates(image.shape, patch, params)
    order = 0 if label else 1
    plane = np.asarray(image[..., 0], np.float32)
    out: NDArray[np.float32] = map_coordinates(
        plane, coordinates, order=order, mode="grid-constant", cval=0.0, prefilter=False
    )
    if not label:
        out = np.clip(np.clip(out, 0, 1) ** params.gamma * params.gain + params.offset, 0, 1)
    return out[..., None].astype(np.float32)


def _coordinates(shape: tuple[int, ...], patch: tuple[int, ...], params: AugmentationParams) -> NDArray[np.float64]:
    """Return (2, x, y): the coordinates in the image, in pixels, at which each pixel of the patch takes its value."""
    unit = [(np.arange(side) + 0.5) / side - 0.5 for side in patch[:2]]
    grid = np.stack(np.meshgrid(*unit, indexing="ij"))
    if params.displacement is not None:
        grid = grid + params.displacement
    grid *= np.where(params.flipped, -1.0, 1.0)[:, None, None]
    cosine, sine = math.cos(params.angle), math.sin(params.angle)
    rotated = np.stack([cosine * grid[0] - sine * grid[1], sine * grid[0] + cosine * grid[1]])
    size, centre, sides = (np.asarray(v, float)[:, None, None] for v in (params.size, params.centre, shape[:2]))
    coordinates: NDArray[np.float64] = (centre + size * rotated) * sides - 0.5
    return coordinates


def _crop_size(settings: Augmentation, rng: np.random.Generator) -> tuple[float, float]:
    """Return the crop's sides in shares of the image's; (1, 1) is the whole image."""
    if settings.area:
        for _ in range(MAX_DRAWS):
            area, aspect = rng.uniform(*settings.area), math.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3)))
            size = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if max(size) <= 1:
                return size
    if rng.random() < settings.zoom:
        side = float(rng.uniform(settings.zoom_least, 1))
        return side, side
    return 1.0, 1.0


def _elastic(patch: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (2, x, y): a smooth random displacement, in shares of the patch's sides."""
    from scipy.ndimage import gaussian_filter

    # Smoothing in two dimensions reduces noise by sigma, so alpha in shares of the side has to grow with sigma.
    scale = np.sqrt(np.prod(patch)) / ELASTIC_SIDE
    alpha, sigma = ELASTIC_ALPHA / ELASTIC_SIDE * scale, [ELASTIC_SIGMA * side / ELASTIC_SIDE for side in patch]
    return np.stack([alpha * gaussian_filter(rng.uniform(-1, 1, patch), sigma) for _ in range(2)])


def _grid(patch: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (2, x, y): the displacement of a grid whose cells change their lengths, in shares of the patch's sides."""
    nodes = np.linspace(0, 1, GRID_STEPS + 1)
    along = []
    for side in patch:
        steps = 1 + rng.uniform(-GRID_LIMIT, GRID_LIMIT, GRID_STEPS)
        distorted = np.concatenate([[0.0], np.cumsum(steps / steps.sum())])
        position = (np.arange(side) + 0.5) / side
        along.append(np.interp(position, nodes, distorted) - position)
    return np.stack(np.meshgrid(*along, indexing="ij"))


def _lens(patch: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (2, x, y): the displacement of a radial distortion, in shares of the patch's sides."""
    unit = np.stack(np.meshgrid(*[(np.arange(side) + 0.5) / side - 0.5 for side in patch], indexing="ij"))
    strength = rng.uniform(-LENS_LIMIT, LENS_LIMIT)
    out: NDArray[np.float64] = unit * strength * 4 * (unit**2).sum(axis=0)
    return out


def _intensity(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return gain, offset and gamma, of which either gamma changes, or contrast and brightness."""
    if rng.random() < 0.5:
        return 1.0, 0.0, float(rng.uniform(*GAMMA))
    gain = float(rng.uniform(1 - CONTRAST, 1 + CONTRAST))
    return gain, float(0.5 * (1 - gain) + rng.uniform(-CONTRAST, CONTRAST)), 1.0
