"""Reader of series of DICOM files: CT in Hounsfield units, other modalities in their own.

Series are found by their tags and slices stacked by their positions; names of folders are ignored.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.pixels import dicom_damage, next_step, one_line_cause, stored_pixels
from sg_bench.data.sources.volumes import as_problem
from sg_bench.errors import DataError

GapPolicy = Literal["refuse", "allow"]

WIDEST_GAP = 1.5
"""Largest distance between slices without a missing slice, in median distances."""
IRREGULAR = 0.1
"""Largest deviation of a slice from its place on a regular grid: in pixels across, in distances of slices along it."""
SAME_POSITION = 0.01
"""mm; slices closer than this have the same position."""
_SAME_GEOMETRY = 1e-4
_RENEW = "Download or export the series again"
_FOLDER_TAGS = ["Modality", "SeriesInstanceUID", "PatientID"]
_IMAGES = ("CT", "MR", "PT", "NM", "US", "XA", "MG", "OPT", "OT")
"""Modalities of volumes; others, such as SEG, SR and RTSTRUCT, are no images."""
_UNITS = ("CT", "PT")
"""Modalities whose values mean nothing without their slope and intercept."""
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
    "NumberOfFrames",
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
    places: NDArray[np.float64]
    """(slices, 3): column, row and slice of each slice's first pixel on the grid of `affine`; (0, 0, index) where the
    slices are a regular grid."""

    @property
    def regular(self) -> bool:
        """Return whether all slices are where `affine` puts them, up to `IRREGULAR`."""
        even = np.column_stack([np.zeros((len(self.slices), 2)), np.arange(len(self.slices))])
        return bool(np.abs(self.places - even).max() <= IRREGULAR)

    @property
    def irregularity(self) -> str:
        """Return how far its slices are off a regular grid, which they are resampled to."""
        across = float(np.abs(self.places[:, :2] - self.places[0, :2]).max())
        along = float(np.abs(self.places[:, 2] - np.arange(len(self.slices))).max())
        causes = [f"shifted by up to {across:.3g} pixels (gantry tilt, drift)"] * (across > IRREGULAR)
        causes += [f"up to {along:.2g} distances from even places"] * (along > IRREGULAR)
        return f"its slices are {' and '.join(causes)}: resampled to a regular grid"

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


def find_volumes(root: Path) -> tuple[list[SeriesFolder], list[Problem]]:
    """Return the image series of at least two files anywhere under `root`, by the header of every file.

    A folder may hold several series, and files may have any name. What is no DICOM is ignored, as is what holds no
    image. Series are sorted by SeriesInstanceUID, their files by path.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    patients: dict[str, set[str]] = defaultdict(set)
    problems: list[Problem] = []
    for path in _dicom_files(root):
        try:
            header = _read(path, _FOLDER_TAGS)
            if str(header.get("Modality")) not in _IMAGES:
                continue
            series = _text(header, "SeriesInstanceUID", path)
            patients[series].add(_text(header, "PatientID", path))
            files[series].append(path)
        except DataError as error:
            problems.append(as_problem(error))
    found = []
    for series, paths in sorted(files.items()):
        if len(patients[series]) > 1:
            what = (
                f"its series {series} has several PatientIDs: {', '.join(sorted(patients[series]))}. Correct the tags"
            )
            problems.append(Problem(str(paths[0].parent), what))
        elif len(paths) == 1:
            what = f"its series {series} is one file, not slices. Convert it to NIfTI if it is a volume"
            problems.append(Problem(str(paths[0]), what, warning=True))
        else:
            found.append(SeriesFolder(tuple(sorted(paths)), series, *patients[series]))
    return found, problems


def read_series(files: list[Path], *, gaps: GapPolicy = "refuse", irregular: GapPolicy = "refuse") -> DicomSeries:
    """Read the headers of one series and stack its slices; of slices at one position the first instance is kept.

    Args:
        files: files of one series, in any order.
        gaps: refuse: raise if a slice is missing; allow: stack the others as if the series were complete.
        irregular: refuse: raise if slices are shifted against each other (gantry tilt, drifting positions) or not
            evenly spaced, the latter unless `gaps` are allowed; allow: `places` says where each is.

    Raises:
        DataError: a file is corrupt or lacks a tag, the files are of several series or grids, there are fewer than
            two slices, a slice is missing, or the slices are no regular grid.
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
    affine, places = _placed(slices, positions, step)
    series = DicomSeries(tuple(slices), affine, places)
    if irregular == "refuse":
        _check_regular(series, even=gaps == "refuse")
    return series


def read_image(series: DicomSeries) -> NDArray[np.float32]:
    """Return the image, (columns, rows, slices), in HU for CT; padding outside the field of view is not changed.

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


def _dicom_files(root: Path) -> Iterator[Path]:
    """Yield the files below `root` that begin as DICOM files do, in a stable order."""
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if len(Path(folder).relative_to(root).parts) > 32:  # a link to a folder above it
            subfolders.clear()
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder, name)
            try:
                with path.open("rb") as file:
                    if file.read(132)[128:] == b"DICM":
                        yield path
            except OSError:
                continue


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

    try:
        return pydicom.dcmread(path, stop_before_pixels=tags is not None, specific_tags=tags and list(tags))
    except dicom_damage() as error:
        raise _unreadable(path, error) from error


def _slice(path: Path) -> DicomSlice:
    header = _read(path, _SLICE_TAGS)
    if _all_numbers(header, "NumberOfFrames", path) not in ([], [1.0]):
        raise DataError(f"{path}: it holds several frames", hint="Convert it to NIfTI, or to a file for each slice")
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
    try:
        text = str(header.get(tag) or "").strip()
    except dicom_damage() as error:
        raise _unreadable(path, error) from error
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
    except dicom_damage() as error:
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
            hint="Remove the file if it is a localizer, else download or export the series again",
        )
    difference = float(np.abs(other.axes - first.axes).max())
    if difference > _SAME_GEOMETRY:
        raise DataError(
            f"{other.path}: ImageOrientationPatient times PixelSpacing differs from that of {first.path.name} "
            f"by {difference:g}, allowed is {_SAME_GEOMETRY:g}",
            hint="Remove the file if it is a localizer, else download or export the series again",
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


def _placed(
    slices: list[DicomSlice], positions: NDArray[np.float64], step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the affine, and `DicomSeries.places` on its grid.

    The distance of slices is the median, or the mean where the median does not fit, as with rounded positions.
    """
    count = len(slices)
    mean = float(positions[-1] - positions[0]) / (count - 1)
    along = positions - positions[0]
    off = [np.abs(along / each - np.arange(count)).max() for each in (step, mean)]
    if off[1] <= IRREGULAR < off[0]:
        step = mean
    normal = _normal(slices[0])
    across = np.array([each.origin - slices[0].origin for each in slices]) - along[:, np.newaxis] * normal
    pixels = np.linalg.lstsq(slices[0].axes, across.T, rcond=None)[0].T
    return _affine(slices[0], step), np.column_stack([pixels, along / step])


def _check_regular(series: DicomSeries, *, even: bool) -> None:
    count = len(series.slices)
    shift = np.abs(series.places[:, :2] - series.places[0, :2]).max(axis=1)
    uneven = np.abs(series.places[:, 2] - np.arange(count))
    where, worst = series.slices[0].path.parent, int(shift.argmax())
    if shift.max() > IRREGULAR:
        raise DataError(
            f"{where}: its slices are shifted against each other (gantry tilt, or positions that drift), "
            f"{series.slices[worst].path.name} by {shift[worst]:.3g} pixels; allowed is {IRREGULAR:g}",
            hint="Resample the series to a regular grid, or read it with source folder, layout dicom, which does so",
        )
    worst = int(uneven.argmax())
    if even and uneven.max() > IRREGULAR:
        raise DataError(
            f"{where}: its slices are not evenly spaced, {series.slices[worst].path.name} is {uneven[worst]:.2g} "
            f"distances from its place; allowed is {IRREGULAR:g}",
            hint="Resample the series to a regular grid, or set `gaps` to allow, which stacks the slices as if even",
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
    if str(data.get("Modality")) in _UNITS:
        (slope,), (intercept,) = (_numbers(data, tag, 1, path) for tag in ("RescaleSlope", "RescaleIntercept"))
    else:
        slope = _optional(data, "RescaleSlope", path, absent=1.0)
        intercept = _optional(data, "RescaleIntercept", path, absent=0.0)
    pixels = stored_pixels(data, path)
    if pixels.shape != shape:
        raise DataError(f"{path}: its pixels have shape {pixels.shape}, not {shape} as in its tags", hint=_RENEW)
    return pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: it cannot be read as DICOM ({one_line_cause(error)})", hint=next_step(error, _RENEW))
