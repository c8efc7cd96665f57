"""Radiographs in PNG or DICOM files: functions shared by the data sets of films, from file search to reading.

A film is float32, (columns, rows, 1): `image[x, y, 0]` is column x of row y, counted from the upper left corner.
"""

from __future__ import annotations

import csv
import io
import os
import struct
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from sg_bench.data.grids import Affine
from sg_bench.data.sources.base import Case, Problem, Source, declared, film_affine, first_problem_error
from sg_bench.data.sources.pixels import next_step, one_line_cause, stored_pixels
from sg_bench.errors import DataError

FilmArray = NDArray[np.float32]

_STRAYS = 4
"""Up to this many films of a folder may be duplicates by mistake; more, if they are most of it, are a second set."""
_RENEW = "Download or export the file again, or remove it to go without"
_DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""Exceptions of Pillow and pydicom for corrupt files, in addition to their own classes."""


class FilmHeader(NamedTuple):
    """Header of a DICOM film."""

    id: str
    """SOPInstanceUID; "" if missing."""
    patient: str
    """PatientID; "" if missing."""
    columns: int
    rows: int


@dataclass
class FilmScan:
    """Result of scanning a folder of films."""

    cases: list[Case] = field(default_factory=list)
    fatal: list[Problem] = field(default_factory=list)
    """Defects that make the data set or a table unusable: `scan` raises the first."""
    exclusions: list[Problem] = field(default_factory=list)
    """Defects that make the patient or the label of a film uncertain: the film is not in `cases`."""
    notes: list[Problem] = field(default_factory=list)
    """Missing or surplus files and rows; everything else can be used."""
    counts: list[Problem] = field(default_factory=list)
    """Deviations from published counts."""


class FilmSource(Source):
    """A data set of films; each instance scans its folder once."""

    def scan(self) -> list[Case]:
        """Return all cases, sorted by id, without reading any pixels; questionable films are left out.

        Raises:
            DataError: there is no usable film, or a table is unusable.
        """
        found = self._found
        if found.fatal:
            raise first_problem_error(found.fatal)
        if not found.cases:
            raise DataError(f"{self.root}: no film is left that can be used. {first_problem_error(found.exclusions)}")
        return list(found.cases)

    def problems(self) -> list[Problem]:
        """Return all defects that scanning can detect: one per film left out, and one for all missing films."""
        return [*self._found.fatal, *self._found.exclusions, *self._found.notes, *self._found.counts]

    def left_out(self) -> list[Problem]:
        """Return the defects because of which films are left out, unless they are declared."""
        found = [*self._found.exclusions, *self._found.notes]
        return [problem for problem in declared(found, self.config) if not problem.warning]

    @abstractmethod
    def scan_folder(self, root: Path) -> FilmScan:
        """Return the cases and problems of the folder `root`."""

    @cached_property
    def _found(self) -> FilmScan:
        root = self.root
        if root is None or not root.is_dir():
            return FilmScan(fatal=[Problem(str(root), "no such folder. Give the data set's folder as its root")])
        found = self.scan_folder(root)
        if not (found.cases or found.fatal or found.exclusions):
            what = "no row of its table has a film here. Complete the download, or correct the source's settings"
            found.fatal.append(Problem(str(root), what))
        return found


def _inside(path: str) -> str:
    pure = PureWindowsPath(path)
    if ".." in pure.parts or pure.anchor:
        raise ValueError(f"'{path}' leaves the data set's folder: write it relative to that folder, without '..'")
    return path


InsidePath = Annotated[str, AfterValidator(_inside)]
"""A relative path inside the data set's folder."""


def find_films(folder: Path, ending: str) -> dict[str, list[Path]]:
    """Return the files below `folder` with the extension `ending` (in lower case), by their names without it.

    Hidden files are ignored, including the "._" files of macOS. A folder that is reached by several links counts once.
    """
    found: dict[str, list[Path]] = {}
    waiting, seen = [folder], set()
    while waiting:
        current = waiting.pop()
        if (real := current.resolve()) in seen:
            continue
        seen.add(real)
        inner = []
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    inner.append(Path(entry.path))
                elif entry.name.lower().endswith(ending) and entry.is_file():
                    found.setdefault(entry.name[: -len(ending)], []).append(Path(entry.path))
        waiting += sorted(inner, reverse=True)
    return found


def single_films(films: dict[str, list[Path]], advice: str, found: FilmScan) -> dict[str, Path]:
    """Return one file for each name, and report duplicate names in `found`.

    Files of equal size are taken as copies: the first by path is used. If the sizes differ, the film is left out. If
    such films are most of a folder, and more than a few, the folder is another version of the data set, such as reduced
    copies: then the data set is rejected until one version is chosen.

    Args:
        films: result of `find_films`.
        advice: next step for the user.
        found: receives the problems.
    """
    kept, unequal = {}, []
    for name, paths in sorted(films.items()):
        first, *others = sorted(paths)
        if others and len({path.stat().st_size for path in paths}) > 1:
            unequal.append(name)
            what = f"the same film, of another size, is also {', '.join(map(str, others))}: it is left out. {advice}"
            found.exclusions.append(Problem(str(first), what))
            continue
        kept[name] = first
        what = f"it is there once more as {first}, which is used. {advice}"
        found.exclusions += [Problem(str(other), what) for other in others]
    found.fatal += _second_sets(films, unequal, advice)
    return kept


def _second_sets(films: dict[str, list[Path]], unequal: list[str], advice: str) -> list[Problem]:
    sizes = Counter(path.parent for paths in films.values() for path in paths)
    shared = Counter(folder for name in unequal for folder in {path.parent for path in films[name]})
    return [
        Problem(str(folder), f"{number} of its {sizes[folder]} films are elsewhere in another size. {advice}")
        for folder, number in sorted(shared.items())
        if number > _STRAYS and 2 * number > sizes[folder]
    ]


def count_and_examples(names: Collection[str]) -> str:
    """Return a text with the number of `names` and the first three of them."""
    shown = ", ".join(sorted(names)[:3])
    return f"{len(names)} ({shown}{', ...' if len(names) > 3 else ''})"


def table_rows(path: Path, problems: list[Problem]) -> list[tuple[int, list[str]]]:
    """Return the non-blank rows of a CSV file with their line numbers.

    If the file cannot be read, add a problem and return [].
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        then = next_step(error, "Download it again")
        problems.append(Problem(str(path), f"it cannot be read as CSV ({_cause(error)}). {then}"))
        return []
    if not rows:
        problems.append(Problem(str(path), "it is empty. Download it again"))
    return rows


def read_png(path: Path) -> FilmArray:
    """Read a PNG as stored grey values: (columns, rows, 1), 0..255 or 0..65535; colour is converted to luminance.

    Transparency is ignored: some releases store grey films as RGBA.

    Raises:
        DataError: the file is corrupt, truncated or no PNG.
    """
    from PIL import Image

    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            # Reading does not compare checksums; after verify() the image must be reopened.
            image.verify()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode.startswith("I"):
                return _as_film(np.asarray(image))
            coloured = image.convert("RGBA") if image.mode == "P" else image
            return _as_film(np.asarray(coloured.convert("L")))
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: it cannot be read as PNG ({_cause(error)})", hint=next_step(error, _RENEW)) from error


def read_picture(path: Path, *, classes: bool = False) -> FilmArray:
    """Read a PNG, JPEG or TIFF of 8, 16 or 32 bits as stored: (columns, rows, 1); colour is converted to luminance.

    Args:
        path: of the file.
        classes: whether the values are class numbers: then those of a palette are its indices, and colour is refused.

    Raises:
        DataError: the file is corrupt, truncated, of another format, or of several pages.
    """
    from PIL import Image

    if not classes and path.suffix.lower() == ".png":
        return read_png(path)
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG", "TIFF"]) as image:
            pages = int(getattr(image, "n_frames", 1))
            if pages > 1:
                raise ValueError(f"it has {pages} pages, export one image a file")
            if image.mode == "1":
                return _as_film(np.asarray(image).astype(np.uint8))
            if image.mode in ("L", "F") or image.mode.startswith("I") or (classes and image.mode == "P"):
                return _as_film(np.asarray(image))
            if classes:
                raise ValueError(f"its mode is {image.mode}: class numbers have one value a pixel, not colours")
            return _as_film(np.asarray((image.convert("RGBA") if image.mode == "P" else image).convert("L")))
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        what = f"{path}: it cannot be read as PNG, JPEG or TIFF ({_cause(error)})"
        raise DataError(what, hint=next_step(error, _RENEW)) from error


def read_dicom(path: Path) -> tuple[FilmArray, Affine]:
    """Read a DICOM film and its affine: (columns, rows, 1), stored values, MONOCHROME1 inverted.

    The affine has PixelSpacing in mm along its two axes, or 1 if it is missing.

    Raises:
        DataError: the file is corrupt, truncated, no DICOM, or not one grey image.
    """
    import pydicom

    try:
        dataset = pydicom.dcmread(path)
        pixels = stored_pixels(dataset, path, "a DICOM film")
        spacing = _spacing(dataset)
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            largest = -1 if dataset.PixelRepresentation else 2 ** int(dataset.BitsStored) - 1
            pixels = np.float32(largest) - pixels.astype(np.float32)
    except _dicom_damage() as error:
        raise _not_dicom(path, error) from error
    if pixels.ndim != 2:
        what = f"{path}: its pixels have shape {pixels.shape}, not (rows, columns)"
        raise DataError(what, hint="Export one grey image a file")
    return _as_film(pixels), film_affine(spacing)


def read_header(path: Path) -> FilmHeader:
    """Read ids and size of a DICOM film.

    Raises:
        DataError: the file is corrupt or no DICOM, or its size is missing.
    """
    import pydicom

    tags: list[Any] = ["SOPInstanceUID", "PatientID", "Rows", "Columns"]
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
        identity, patient = (str(dataset.get(tag) or "").strip() for tag in tags[:2])
        return FilmHeader(identity, patient, columns=int(dataset.Columns), rows=int(dataset.Rows))
    except _dicom_damage() as error:
        raise _not_dicom(path, error) from error


def _as_film(pixels: NDArray[Any]) -> FilmArray:
    """Return (rows, columns) pixels as a film."""
    if pixels.dtype == np.uint8:
        from sg_bench.data.kernels import turn_film

        film = np.empty(pixels.T.shape, np.float32)
        turn_film(np.ascontiguousarray(pixels), film)
        return film[..., np.newaxis]
    return np.ascontiguousarray(pixels.T[..., np.newaxis], dtype=np.float32)


def _spacing(dataset: Any) -> tuple[float, float]:
    """Return mm between columns and between rows (in DICOM the order is rows first)."""
    try:
        between_rows, between_columns = (float(each) for each in dataset.PixelSpacing)
    except (AttributeError, TypeError, ValueError):
        return 1.0, 1.0
    known = 0 < between_rows < float("inf") and 0 < between_columns < float("inf")
    return (between_columns, between_rows) if known else (1.0, 1.0)


def _dicom_damage() -> tuple[type[Exception], ...]:
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_DAMAGE, BytesLengthException, InvalidDicomError)


def _not_dicom(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: it cannot be read as a DICOM film ({_cause(error)})", hint=next_step(error, _RENEW))


def _cause(error: BaseException) -> str:
    """Return the first sentence of the message: the rest is advice for programmers."""
    return one_line_cause(error)
