"""What is doubtful about a case that can be used: constant images, headers that contradict themselves, resampling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.prepare import PreparedCase
from sg_bench.data.sources.base import Case, Study
from sg_bench.data.sources.volumes import VOXEL_TOLERANCE, largest_distance
from sg_bench.data.sources.voxels import read_nifti_header
from sg_bench.errors import DataError


def study_notes(case: Case, study: Study) -> tuple[str, ...]:
    """Return one line for each thing that is doubtful about a case as read; files are named without their folder."""
    paths = [path for path in (case.image, *case.channels, case.label) if path is not None]
    found = (line for path in paths if path.name.lower().endswith((".nii", ".nii.gz")) for line in _two_affines(path))
    return (*study.notes, *_constant(study.image, "the image"), *found)


def prepared_notes(case: Case, study: Study, prepared: PreparedCase) -> tuple[str, ...]:
    """Return the lines of `study_notes`, and those on the image as it is trained on."""
    found = study_notes(case, study)
    window = [] if any(_constant(study.image, "")) else _constant(prepared.image, "scaled to its window, the image")
    return (*found, *window)


def _constant(image: NDArray[np.float32] | NDArray[np.float16], what: str) -> Iterator[str]:
    channels = image if image.ndim == 4 else image[np.newaxis]
    for index, channel in enumerate(channels):
        value = channel[0, 0, 0]
        if (channel[::8, ::8, ::8] == value).all() and (channel == value).all():
            which = f", channel {index}," if len(channels) > 1 else ""
            yield f"{what}{which} is constant: every voxel is {float(value):g}"


def _two_affines(path: Path) -> Iterator[str]:
    """Yield a line if a NIfTI file has a qform and an sform that place its voxels differently."""
    from nibabel.spatialimages import HeaderDataError

    with suppress(DataError, HeaderDataError, ValueError, np.linalg.LinAlgError):
        header = read_nifti_header(path)
        (by_quaternion, code), (by_matrix, other) = (header.get_qform(coded=True), header.get_sform(coded=True))
        if code and other:
            voxels, distance = largest_distance(by_matrix, by_quaternion, header.get_data_shape())
            if voxels > VOXEL_TOLERANCE:
                yield (
                    f"{path.name}: its qform and its sform place voxels up to {voxels:.3g} voxels or {distance:.4g} mm "
                    "apart; the sform is used"
                )
