"""From an image as read to an array ready to train on: orientation, spacing, intensities.

The only module that knows torchio, which it imports when it first prepares something.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.base import Study
from sg_bench.errors import DataError, UsageError
from sg_bench.recipes import Preparation

_SAME_SPACING = 1e-4
"""mm; an image this close to the wanted spacing is not interpolated."""


class VoxelCandidate(NamedTuple):
    """A source's candidate, placed on the prepared grid."""

    position: tuple[float, float, float]
    """Voxel coordinates (x, y, z) of the centre; fractional, voxel centres at whole numbers, perhaps outside."""
    positive: bool
    diameter: float | None
    """In mm, where known."""
    target: tuple[int, ...] = ()
    """Values of the label map that are this very finding; (): the task's own."""


@dataclass(frozen=True)
class Prepared:
    """One case, ready for the store."""

    image: NDArray[np.float16]
    """(x, y, z) in [0, 1], C order."""
    spacing: tuple[float, float, float]
    """Voxel size in mm along the three array axes."""
    affine: NDArray[np.float64]
    """4x4: voxel indices of `image` to world mm, RAS+."""
    label: NDArray[np.uint8] | None = None
    """(x, y, z), the source's class numbers."""
    candidates: list[VoxelCandidate] = field(default_factory=list)


def prepare(study: Study, preparation: Preparation, *, name: str = "image") -> Prepared:
    """Bring `study` to the orientation, spacing and intensities of `preparation`.

    Intensities come first: padding outside the field of view (-3024 HU) must be clipped before interpolation
    can smear it. Images are then interpolated linearly, labels by nearest neighbour, on a grid centred on the old
    one, so that no voxel lies outside it. `preparation.spacing` is along the axes of the oriented array.

    Args:
        study: the case as read.
        preparation: what to do.
        name: file or case, for error messages.

    Raises:
        DataError: minmax or percentiles of a constant image.
        UsageError: `clip` does not hold percentiles.
    """
    image = scaled(study.image, preparation, name=name)
    image, label, affine = _on_grid(image, study.label, study.affine, preparation)
    return Prepared(
        image=_as_stored(image),
        spacing=spacing_of(affine),
        affine=affine,
        label=label,
        candidates=_placed(study, affine),
    )


def scaled(image: NDArray[np.float32], preparation: Preparation, *, name: str = "image") -> NDArray[np.float32]:
    """Return a copy of `image` (any shape, native units) mapped linearly to [0, 1], clipped at both ends.

    Raises:
        DataError: minmax or percentiles of a constant image.
        UsageError: `clip` does not hold percentiles.
    """
    low, high = (np.float32(bound) for bound in _window(image, preparation))
    if low >= high:
        raise DataError(
            f"{name}: {preparation.intensity} cannot scale it, its window is the single value {low:g}",
            hint="Look at the image: it is constant or nearly so. Remove it, or prepare with intensity 'hu'",
        )
    out: NDArray[np.float32] = np.clip(image, low, high, dtype=np.float32)
    out -= low
    out /= high - low
    return out


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the voxel size in mm along the three array axes of a 4x4 `affine`."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def _window(image: NDArray[np.float32], preparation: Preparation) -> tuple[float, float]:
    low, high = preparation.clip
    if preparation.intensity == "hu":
        return low, high
    if preparation.intensity == "minmax":
        return float(image.min()), float(image.max())
    if low < 0 or high > 100:
        raise UsageError(f"clip must hold two percentiles in [0, 100], not {preparation.clip}")
    low, high = np.percentile(image, [low, high]).tolist()
    return low, high


def _on_grid(
    image: NDArray[np.float32], label: NDArray[np.uint8] | None, affine: NDArray[np.float64], preparation: Preparation
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None, NDArray[np.float64]]:
    """Return image, label and affine on the oriented, resampled grid; the arrays are new or the ones given."""
    import torch

    tio = _torchio()
    subject = tio.Subject(image=tio.ScalarImage(tensor=torch.from_numpy(image[np.newaxis]), affine=affine))
    if label is not None:
        subject["label"] = tio.LabelMap(tensor=torch.from_numpy(label[np.newaxis].copy()), affine=affine)
    subject = tio.ToOrientation(preparation.orientation, copy=False)(subject)
    if preparation.spacing is not None:
        subject = _resampled(subject, preparation.spacing)
    placed = None if label is None else np.ascontiguousarray(subject["label"].numpy()[0], dtype=np.uint8)
    return subject["image"].numpy()[0], placed, np.asarray(subject["image"].affine, dtype=np.float64)


def _resampled(subject: Any, spacing: tuple[float, float, float]) -> Any:
    """Return a torchio subject with all its images on the grid of `spacing`."""
    image = subject["image"]
    affine = np.asarray(image.affine, dtype=np.float64)
    if np.allclose(spacing_of(affine), spacing, rtol=0, atol=_SAME_SPACING):
        return subject
    target = _centred_grid(image.spatial_shape, affine, spacing)
    return _torchio().Resample(target, copy=False)(subject)


def _torchio() -> Any:
    import torchio

    return torchio


def _centred_grid(
    shape: tuple[int, int, int], affine: NDArray[np.float64], spacing: tuple[float, float, float]
) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Return shape and affine of a grid of `spacing` that shares the old grid's centre and, rounded, its extent.

    Rounding leaves at most a quarter of a new voxel beyond the old edge, so every voxel centre is inside.
    """
    step = np.asarray(spacing) / spacing_of(affine)
    x, y, z = (max(1, round(size)) for size in np.asarray(shape) / step)
    first = (np.asarray(shape) - 1 - (np.array([x, y, z]) - 1) * step) / 2
    new = affine.copy()
    new[:3, :3] = affine[:3, :3] * step
    new[:3, 3] = affine[:3, :3] @ first + affine[:3, 3]
    return (x, y, z), new


def _as_stored(image: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return float16 in [0, 1]: interpolation may overshoot by one rounding."""
    return np.clip(np.ascontiguousarray(image, dtype=np.float16), np.float16(0), np.float16(1))


def _placed(study: Study, affine: NDArray[np.float64]) -> list[VoxelCandidate]:
    to_voxel = np.linalg.inv(affine)
    placed = []
    for candidate in study.candidates:
        x, y, z = (to_voxel[:3, :3] @ np.asarray(candidate.position) + to_voxel[:3, 3]).tolist()
        placed.append(VoxelCandidate((x, y, z), candidate.positive, candidate.diameter, candidate.target))
    return placed
