"""Small images of the phantom on which methods are checked, made once per process."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.data.cubes import ArrayCubes
from sg_bench.data.sources.phantom import PhantomConfig, PhantomSource

SHAPES: dict[int, Shape] = {3: (16, 16, 16), 2: (32, 32, 1)}
"""Shape of each cube, or of each crop of a film, in voxels."""
PATIENTS = 3
CLASSES = 3
"""Number of places at which every patient is cut: cubes of the same place share a pseudo-label."""
SOURCES: dict[int, dict[str, Any]] = {
    3: {"patients": PATIENTS, "shape": (48, 48, 32)},
    2: {"patients": PATIENTS, "modality": "film", "shape": (48, 48, 1)},
}
"""Settings of the phantom, by dimension."""
WINDOWS: dict[int, tuple[float, float]] = {3: (-1000.0, 1000.0), 2: (0.0, 255.0)}


@cache
def phantom_cubes(dimension: int) -> ArrayCubes:
    """Return `PATIENTS` x `CLASSES` cubes of `SHAPES[dimension]` in [0, 1] with patients, the place as the label."""
    source = PhantomSource(PhantomConfig.model_validate(SOURCES[dimension]), None)
    low, high = WINDOWS[dimension]
    cubes, ids = [], []
    for case in source.scan():
        ids += [case.id] * CLASSES
        image = np.clip((source.load(case).image - low) / (high - low), 0, 1)
        cubes += [_cut(image, place, SHAPES[dimension]) for place in range(CLASSES)]
    return ArrayCubes(np.stack(cubes).astype(np.float16), np.arange(len(cubes)) % CLASSES, ids)


def _cut(image: NDArray[Any], place: int, shape: Shape) -> NDArray[Any]:
    """Return the cube at one of `CLASSES` places along the diagonal, from one corner to the other."""
    start = [(whole - side) * place // (CLASSES - 1) for whole, side in zip(image.shape, shape, strict=True)]
    return image[tuple(slice(first, first + side) for first, side in zip(start, shape, strict=True))]
