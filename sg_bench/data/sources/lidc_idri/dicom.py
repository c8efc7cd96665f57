"""Reader of CT series in folders of DICOM files, in Hounsfield units.

Series are found by their tags and slices stacked by their positions. Names of folders are ignored; files may have any
name that ends in .dcm.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.volumes import as_problem
from sg_bench.errors import DataError

GapPolicy = Literal["refuse", "allow"]

WIDEST_GAP = 1.5
"""Largest distance between slices without a missing slice, in median distances."""
SAME_POSITION = 0.01
"""mm; slices closer than this have the same position."""
_SAME_GEOMETRY = 1e-4
_RENEW = "Download the series again"
_FOLDER_TAGS = ["Modality", "SeriesInstanceUID", "PatientID"]
_SLICE_TAGS = [
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
]


@dataclass(frozen=True)
class SeriesFolder:
    """One folder's CT series, by the header of one of its files."""

    files: tuple[Path, ...]
    """All its .dcm files, sorted by name."""
    series: str
    """SeriesInstanceUID."""
    patient: str
    """PatientID."""


@dataclass(frozen=True)
class DicomSlice:
    """Header of one slice of a series."""

    path: Path
    series: str
    image: str
    """SOPInstanceUID."""
    number: float
    """InstanceNumber; infinite if missing."""
    origin: NDArray[np.float64]
    """(3,): centre of the first pixel, in mm, LPS+ (DICOM's convention)."""
    axes: NDArray[np.float64]
    """(3, 2): steps from column to column and from row to row, in mm, LPS+."""
    shape: tuple[int, int]
    """Columns, rows."""
    thickness: float
    """SliceThickness in mm; 0 if missing."""


@dataclass(frozen=True)
class DicomSeries:
    """Headers of slices stacked into one grid."""

    slices: tuple[DicomSlice, ...]
    """In ascending order along the normal of the slices, one per position."""
    affine: NDArray[np.float64]
    """4x4: (column, row, slice) to world mm, RAS+."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return columns, rows, slices."""
        return (*self.slices[0].shape, len(self.slices))

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Return the (3,) distances in mm of neighbouring columns, rows and slices."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def thickness(self) -> float:
        """Return the slice thickness in mm, or the distance between slices if it is missing."""
        return self.slices[0].thickness or float(self.spacing[2])

    def index(self, image: str, z: float) -> int | None:
        """Return the index of the slice with SOPInstanceUID `image`, else of that at `z` mm, else None."""
        by_name = [index for index, each in enumerate(self.slices) if each.image == image]
        near = [index for index, each in enumerate(self.slices) if abs(each.origin[2] - z) < SAME_POSITION]
        return next(iter(by_name + near), None)


def find_series(root: Path) -> tuple[list[SeriesFolder], list[Problem]]:
    """Return the CT series anywhere under `root`, by one header per folder, and the problems of folders.

    Folders of another modality are ignored: LIDC-IDRI also has chest films.
    """
    folders: list[SeriesFolder] = []
    problems: list[Problem] = []
    for files in _folders(root):
        try:
            found = _folder(files)
        except DataError as error:
            problems.append(as_problem(error))
        else:
            folders += [found] if found else []
    return folders, problems


def read_series(files: list[Path], *, gaps: GapPolicy = "refuse") -> DicomSeries:
    """Read the headers of one series and stack its slices; of slices at one position the first instance is kept.

    Args:
        files: files of one series, in any order.
        gaps: refuse: raise if a slice is missing; allow: stack the others as if the series were complete.

    Raises:
        DataError: a file is corrupt or lacks a tag, the files are of several series or grids, there are fewer than
            two slices, or a slice is missing.
    """
    slices = [_slice(path) for path in files]
    for other in slices[1:]:
        _check_same(slices[0], other)
    slices, positions = _stacked(slices)
    if len(slices) < 2:
        raise DataError(f"{files[0].parent}: it holds {len(slices)} slice, not a volume", hint=_RENEW)
    steps = np.diff(positions)
    step = float(np.median(steps))
    if gaps == "refuse":
        _check_gaps(slices, steps, step)
    return DicomSeries(tuple(slices), _affine(slices[0], step))


def read_image(series: DicomSeries) -> NDArray[np.float32]:
    """Return the image, (columns, rows, slices), in HU; padding outside the field of view is not changed.

    Raises:
        DataError: the pixels of a file are corrupt or truncated, or it lacks its rescale slope or intercept.
    """
    columns, rows, count = series.shape
    image = np.empty((count, rows, columns), dtype=np.float32)
    for index, each in enumerate(series.slices):
        image[index] = _hounsfield(each.path, (rows, columns))
    return image.T


def _folders(root: Path) -> Iterator[list[Path]]:
    """Yield the sorted .dcm files of each folder with any."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        wanted = sorted(name for name in names if name.lower().endswith(".dcm") and not name.startswith("."))
        if wanted:
            yield [Path(folder, name) for name in wanted]


def _folder(files: list[Path]) -> SeriesFolder | None:
    """Return the CT series of a folder, by its first DICOM file; None if that is no CT."""
    from pydicom.errors import InvalidDicomError

    for path in files:
        try:
            header = _read(path, _FOLDER_TAGS)
        except DataError as error:
            if isinstance(error.__cause__, InvalidDicomError):
                continue
            raise
        if _text(header, "Modality", path) != "CT":
            return None
        return SeriesFolder(tuple(files), _text(header, "SeriesInstanceUID", path), _text(header, "PatientID", path))
    raise DataError(f"{files[0].parent}: none of its {len(files)} .dcm files is DICOM", hint=_RENEW)


def _read(path: Path, tags: list[str] | None) -> Any:
    """Return the given tags of a file, or the complete file for None."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    corrupt = (InvalidDicomError, OSError, EOFError, ValueError, KeyError, NotImplementedError, struct.error)
    try:
        return pydicom.dcmread(path, stop_before_pixels=tags is not None, specific_tags=tags and list(tags))
    except corrupt as error:
        raise _unreadable(path, error) from error


def _slice(path: Path) -> DicomSlice:
    header = _read(path, _SLICE_TAGS)
    orientation = np.array(_numbers(header, "ImageOrientationPatient", 6, path)).reshape(2, 3).T
    between_rows, between_columns = _numbers(header, "PixelSpacing", 2, path)
    (rows,), (columns,) = (_numbers(header, tag, 1, path) for tag in ("Rows", "Columns"))
    return DicomSlice(
        path=path,
        series=_text(header, "SeriesInstanceUID", path),
        image=_text(header, "SOPInstanceUID", path),
        number=_optional(header, "InstanceNumber", path, absent=np.inf),
        origin=np.array(_numbers(header, "ImagePositionPatient", 3, path)),
        axes=orientation * [between_columns, between_rows],
        shape=(int(columns), int(rows)),
        thickness=_optional(header, "SliceThickness", path, absent=0.0),
    )


def _text(header: Any, tag: str, path: Path) -> str:
    text = str(header.get(tag) or "").strip()
    if not text:
        raise DataError(f"{path}: its tag {tag} is missing or empty", hint=_RENEW)
    return text


def _numbers(header: Any, tag: str, count: int, path: Path) -> list[float]:
    """Return the `count` finite numbers of a tag."""
    numbers = _all_numbers(header, tag, path)
    if not numbers:
        raise DataError(f"{path}: its tag {tag} is missing or empty", hint=_RENEW)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise DataError(f"{path}: its tag {tag} is {numbers}, not {count} numbers", hint=_RENEW)
    return numbers


def _all_numbers(header: Any, tag: str, path: Path) -> list[float]:
    """Return the numbers of a tag; [] if it is missing or empty."""
    try:
        value = header.get(tag)
        return [] if value in (None, "") else [float(number) for number in np.ravel(value)]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: its tag {tag} is no number ({str(error)[:100]})", hint=_RENEW) from error


def _optional(header: Any, tag: str, path: Path, *, absent: float) -> float:
    return _numbers(header, tag, 1, path)[0] if _all_numbers(header, tag, path) else absent


def _check_same(first: DicomSlice, other: DicomSlice) -> None:
    """Check that two files of a folder have the same series, shape, orientation and spacing."""
    if other.series != first.series:
        raise DataError(
            f"{other.path}: it is of series {other.series}, {first.path.name} in the same folder of {first.series}",
            hint="Give each series a folder of its own",
        )
    if other.shape != first.shape:
        raise DataError(
            f"{other.path}: its columns and rows are {other.shape}, those of {first.path.name} {first.shape}",
            hint="Remove the file if it is a localizer, else download the series again",
        )
    difference = float(np.abs(other.axes - first.axes).max())
    if difference > _SAME_GEOMETRY:
        raise DataError(
            f"{other.path}: ImageOrientationPatient times PixelSpacing differs from that of {first.path.name} "
            f"by {difference:g}, allowed is {_SAME_GEOMETRY:g}",
            hint="Remove the file if it is a localizer, else download the series again",
        )


def _normal(one: DicomSlice) -> NDArray[np.float64]:
    """Return the (3,) unit normal of a slice, LPS+."""
    normal = np.cross(one.axes[:, 0], one.axes[:, 1])
    length = float(np.linalg.norm(normal))
    if not length > 0:
        raise DataError(f"{one.path}: ImageOrientationPatient and PixelSpacing span no plane", hint=_RENEW)
    return np.asarray(normal / length)


def _stacked(slices: list[DicomSlice]) -> tuple[list[DicomSlice], NDArray[np.float64]]:
    """Return one slice per position, and the ascending positions along the normal in mm."""
    normal = _normal(slices[0])
    ranked = sorted(slices, key=lambda each: (float(each.origin @ normal), each.path.name))
    kept: list[DicomSlice] = []
    for each in ranked:
        if not kept or float((each.origin - kept[-1].origin) @ normal) >= SAME_POSITION:
            kept.append(each)
        elif each.number < kept[-1].number:
            kept[-1] = each
    return kept, np.array([float(each.origin @ normal) for each in kept])


def _check_gaps(slices: list[DicomSlice], steps: NDArray[np.float64], step: float) -> None:
    wide = np.flatnonzero(steps > WIDEST_GAP * step)
    if wide.size:
        low, high = slices[wide[0]], slices[wide[0] + 1]
        raise DataError(
            f"{low.path.parent}: {wide.size} gaps between slices, the first of {steps[wide[0]]:g} mm from "
            f"{low.path.name} (z {low.origin[2]:g}) to {high.path.name} (z {high.origin[2]:g}); the median is "
            f"{step:g} mm, allowed are {WIDEST_GAP:g} medians",
            hint="Download the missing slices, or set `gaps` to allow, which stacks the slices as if none were missing",
        )


def _affine(lowest: DicomSlice, step: float) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :2] = lowest.axes
    affine[:3, 2] = _normal(lowest) * step
    affine[:3, 3] = lowest.origin
    affine[:2] *= -1  # LPS+ to RAS+
    return affine


def _hounsfield(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    data = _read(path, None)
    (slope,), (intercept,) = (_numbers(data, tag, 1, path) for tag in ("RescaleSlope", "RescaleIntercept"))
    try:
        pixels: NDArray[Any] = data.pixel_array
    except (OSError, EOFError, ValueError, AttributeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    if pixels.shape != shape:
        raise DataError(f"{path}: its pixels have shape {pixels.shape}, not {shape} as in its tags", hint=_RENEW)
    return pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _unreadable(path: Path, error: Exception) -> DataError:
    cause = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: it cannot be read as DICOM ({cause[:200]})", hint=_RENEW)
