"""Preparation of an image for training: intensities, grid and orientation.

A CT of 512 x 512 x 600 voxels takes 0.6 GB as read. The new grid is therefore filled slab by slab, and in addition to
the study only the prepared image, in half precision, is held in memory. This is the only module that imports torchio,
on first use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Preparation
from sg_bench.data.grids import Affine, filled, native_axes, new_axes, picked, placed_on
from sg_bench.data.sources.base import Study
from sg_bench.errors import DataError, UsageError


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
    """(x, y, z) in [0, 1], C order."""
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

    Args:
        study: the case as read.
        preparation: intensity scaling, spacing or shape, and orientation.
        name: file or case in error messages.

    Raises:
        DataError: minmax or percentile scaling of a constant image.
        UsageError: `clip` does not hold percentiles.
    """
    window = _window(study.image, preparation, name)
    order = native_axes(study.affine, preparation.orientation)
    axes = new_axes(study.image.shape, study.affine, preparation, order)
    image = filled(study.image, axes, lambda part: _mapped(part, *window))
    label = None if study.label is None else picked(study.label, axes)
    image, label, affine = _oriented(image, label, placed_on(axes, study.affine), preparation.orientation)
    return PreparedCase(
        image=image, spacing=spacing_of(affine), affine=affine, label=label, candidates=_placed(study, affine)
    )


def scaled(image: NDArray[np.float32], preparation: Preparation, *, name: str = "image") -> NDArray[np.float32]:
    """Return a copy of `image` (any shape, native units) mapped linearly to [0, 1], clipped at both ends.

    Raises:
        DataError: minmax or percentile scaling of a constant image.
        UsageError: `clip` does not hold percentiles.
    """
    return _mapped(image, *_window(image, preparation, name))


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Return the voxel size in mm along the three array axes of a 4x4 `affine`."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def _mapped(image: NDArray[np.float32], low: np.float32, high: np.float32) -> NDArray[np.float32]:
    out: NDArray[np.float32] = np.clip(image, low, high, dtype=np.float32)
    out -= low
    out /= high - low
    return out


def _window(image: NDArray[np.float32], preparation: Preparation, name: str) -> tuple[np.float32, np.float32]:
    """Return the native values that are mapped to 0 and 1."""
    low, high = (np.float32(bound) for bound in _bounds(image, preparation))
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


def _oriented(
    image: NDArray[np.float16], label: NDArray[np.uint8] | None, affine: Affine, orientation: str
) -> tuple[NDArray[np.float16], NDArray[np.uint8] | None, Affine]:
    """Return image, label and affine with the array axes along `orientation`, in C order.

    torchio does not support half precision. Reorientation only moves voxels, so their bits are passed as integers.
    """
    import torch
    import torchio

    tio: Any = torchio
    bits = torch.from_numpy(image.view(np.int16)[np.newaxis])
    subject = tio.Subject(image=tio.LabelMap(tensor=bits, affine=affine))
    if label is not None:
        subject["label"] = tio.LabelMap(tensor=torch.from_numpy(label[np.newaxis]), affine=affine)
    del image, bits
    subject = tio.ToOrientation(orientation, copy=False)(subject)
    turned = np.ascontiguousarray(subject["image"].numpy()[0]).view(np.float16)
    placed = None if label is None else np.ascontiguousarray(subject["label"].numpy()[0], dtype=np.uint8)
    return turned, placed, np.asarray(subject["image"].affine, dtype=np.float64)


def _placed(study: Study, affine: NDArray[np.float64]) -> list[VoxelCandidate]:
    to_voxel = np.linalg.inv(affine)
    placed = []
    for candidate in study.candidates:
        x, y, z = (to_voxel[:3, :3] @ np.asarray(candidate.position) + to_voxel[:3, 3]).tolist()
        placed.append(VoxelCandidate((x, y, z), candidate.positive, candidate.diameter, candidate.target))
    return placed
