"""Preparation of an image for training: intensities, grid and orientation.

A CT of 512 x 512 x 600 voxels takes 0.6 GB as read. In addition to the study only the prepared image, in half
precision, is held in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Preparation
from sg_bench.data.grids import Affine, filled, new_axes, picked, placed_on, turn_to
from sg_bench.data.sources.base import Study
from sg_bench.errors import DataError, UsageError

_MOST_ABOVE = 0.9
"""Largest share of voxels above the window: more are another unit, such as films of 16 bit in a window for 8."""


class VoxelCandidate(NamedTuple):
    """A source's candidate in voxel coordinates of the prepared grid."""

    position: tuple[float, float, float]
    """Fractional voxel coordinates (x, y, z) of the centre, which may be outside; voxel centres are at integers."""
    positive: bool
    diameter: float | None
    """In mm; None if unknown."""
    target: tuple[int, ...] = ()
    """Values of the label map that belong to this candidate; (): those of the task."""


@dataclass(frozen=True)
class PreparedCase:
    """One prepared case, to be written to the store."""

    image: NDArray[np.float16]
    """(x, y, z), or (channels, x, y, z) if there are several, in [0, 1], C order."""
    spacing: tuple[float, float, float]
    """Voxel size in mm along the three array axes."""
    affine: NDArray[np.float64]
    """4x4: voxel indices of `image` to world mm, RAS+."""
    label: NDArray[np.uint8] | None = None
    """(x, y, z), the source's class numbers."""
    candidates: list[VoxelCandidate] = field(default_factory=list)


def prepare(study: Study, preparation: Preparation, *, name: str = "image") -> PreparedCase:
    """Bring `study` to the intensities, grid and orientation of `preparation`.

    Intensities are scaled first: padding outside the field of view (-3024 HU) must be clipped before interpolation
    smears it. `preparation.spacing` and `preparation.shape` are along the axes of the oriented array; an axis of one
    voxel, such as the third of a film, is kept. With a spacing, images are interpolated linearly on a grid centred on
    the old one, so that no voxel centre is outside. With a shape, the field of view is kept: images are area means
    along an axis that shrinks and interpolated linearly along one that grows. Labels are sampled by nearest neighbour.
    Each channel is scaled by itself.

    Args:
        study: the case as read.
        preparation: intensity scaling, spacing or shape, and orientation.
        name: file or case in error messages.

    Raises:
        DataError: minmax or percentile scaling of a constant image, or of one with a constant channel; or nearly all
            voxels are above the window.
        UsageError: `clip` does not hold percentiles.
    """
    channels = study.image[np.newaxis] if study.image.ndim == 3 else study.image
    names = [name] if len(channels) == 1 else [f"{name}, channel {index}" for index in range(len(channels))]
    windows = [_window(channel, preparation, each) for channel, each in zip(channels, names, strict=True)]
    turn = turn_to(preparation.orientation, study.affine)
    axes = new_axes(channels.shape[1:], study.affine, preparation, turn)
    images = [filled(channel, axes, window, turn) for channel, window in zip(channels, windows, strict=True)]
    affine = placed_on(axes, study.affine, turn)
    return PreparedCase(
        image=images[0] if study.image.ndim == 3 else np.stack(images),
        spacing=spacing_of(affine),
        affine=affine,
        label=None if study.label is None else picked(study.label, axes, turn),
        candidates=_placed(study, affine),
    )


def scaled(image: NDArray[np.float32], preparation: Preparation, *, name: str = "image") -> NDArray[np.float32]:
    """Return a copy of `image` (any shape, native units) mapped linearly to [0, 1], clipped at both ends.

    Raises:
        DataError: minmax or percentile scaling of a constant image.
        UsageError: `clip` does not hold percentiles.
    """
    low, high = _window(image, preparation, name)
    out: NDArray[np.float32] = np.clip(image, low, high, dtype=np.float32)
    out -= low
    out /= high - low
    return out


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Return the voxel size in mm along the three array axes of a 4x4 `affine`."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def _window(image: NDArray[np.float32], preparation: Preparation, name: str) -> tuple[np.float32, np.float32]:
    """Return the native values that are mapped to 0 and 1."""
    low, high = (np.float32(bound) for bound in _bounds(image, preparation))
    sample = image[tuple(slice(None, None, 4 if size > 64 else 1) for size in image.shape)]
    above = float(np.mean(sample > high))
    if above > _MOST_ABOVE and float(sample.min()) < float(sample.max()):
        raise DataError(
            f"{name}: {above:.0%} of its voxels are above {high:g}, the end of its window, and would all be 1",
            hint=f"Its values reach {sample.max():g}: set `clip` to their range, or `intensity` to percentiles",
        )
    if low >= high:
        raise DataError(
            f"{name}: {preparation.intensity} cannot scale it, its window is the single value {low:g}",
            hint="Look at the image: it is constant or nearly so. Remove it, or prepare with intensity 'hu'",
        )
    return low, high


def _bounds(image: NDArray[np.float32], preparation: Preparation) -> tuple[float, float]:
    low, high = preparation.clip
    if preparation.intensity == "hu":
        return low, high
    if preparation.intensity == "minmax":
        return float(image.min()), float(image.max())
    if low < 0 or high > 100:
        raise UsageError(f"clip must hold two percentiles in [0, 100], not {preparation.clip}")
    low, high = np.percentile(image, [low, high]).tolist()
    return low, high


def _placed(study: Study, affine: NDArray[np.float64]) -> list[VoxelCandidate]:
    to_voxel = np.linalg.inv(affine)
    placed = []
    for candidate in study.candidates:
        x, y, z = (to_voxel[:3, :3] @ np.asarray(candidate.position) + to_voxel[:3, 3]).tolist()
        placed.append(VoxelCandidate((x, y, z), candidate.positive, candidate.diameter, candidate.target))
    return placed
