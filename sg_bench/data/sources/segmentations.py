"""Reader of DICOM segmentations (SEG) on the slices of their series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.dicom import DicomSeries
from sg_bench.data.sources.pixels import dicom_damage, one_line_cause
from sg_bench.errors import DataError

_TAGS: list[Any] = ["Modality", "ReferencedSeriesSequence"]


def segmented_series(path: Path) -> str:
    """Return the SeriesInstanceUID of the images that a DICOM file segments; "" if it is no segmentation.

    Raises:
        DataError: it is corrupt, or a segmentation that names no series.
    """
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        if str(header.get("Modality")) != "SEG":
            return ""
        return str(header.ReferencedSeriesSequence[0].SeriesInstanceUID)
    except dicom_damage() as error:
        what = f"{path}: it cannot be read as a segmentation ({one_line_cause(error)})"
        raise DataError(what, hint="Export it again") from error


def read_segmentation(path: Path, series: DicomSeries) -> NDArray[np.uint8]:
    """Return the segments of a SEG file on the slices of its series: (columns, rows, slices), segment numbers.

    Raises:
        DataError: it is corrupt, its segments overlap, or it does not fit the series.
    """
    import highdicom

    images = [each.image for each in series.slices]
    try:
        found = highdicom.seg.segread(path).get_pixels_by_source_instance(
            source_sop_instance_uids=images, combine_segments=True, assert_missing_frames_are_empty=True
        )
    except dicom_damage() as error:
        what = f"{path}: it cannot be read as the segmentation of its series ({one_line_cause(error)})"
        raise DataError(what, hint="Check that its segments do not overlap and that all slices are here") from error
    mask = np.asarray(found).T
    if mask.shape != series.shape or mask.max() > 255:
        what = f"{path}: its segments have shape {mask.shape}, the series {series.shape}; the largest is {mask.max()}"
        raise DataError(what, hint="Export it on the grid of its series, with segment numbers up to 255")
    return mask.astype(np.uint8)
