"""Reader of the annotation XML of LIDC-IDRI.

Source: sg-bench data protocol, A.2; element names as in the data set's own files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from defusedxml import DefusedXmlException, ElementTree  # type: ignore[import-untyped]
from numpy.typing import NDArray

from sg_bench.errors import DataError

OutlinePixels = NDArray[np.int64]
"""(n, 2): column and row of each pixel."""

MOST_READERS = 8
"""One bit of a uint8 label map per reader; the data set has four."""
CHARACTERISTICS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
_ROOT = "LidcReadMessage"
_RENEW = "Download the XML again"
_DAMAGE = (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError, OSError)


@dataclass(frozen=True)
class Outline:
    """One closed outline on one slice: the first pixels outside the nodule."""

    image: str
    """SOPInstanceUID of the slice; "" if missing."""
    z: float
    """imageZposition in mm."""
    included: bool
    """False: the outline and its inside are excluded from the nodule."""
    points: OutlinePixels
    """At least two."""


@dataclass(frozen=True)
class Annotation:
    """One reader's annotation of a nodule of at least 3 mm."""

    reader: int
    """Index of the reading session in the XML, from 0; not the same person in different files."""
    name: str
    """noduleID, not shared between readers."""
    ratings: dict[str, int]
    """Each of `CHARACTERISTICS`, from 1."""
    outlines: tuple[Outline, ...]

    @property
    def malignancy(self) -> int:
        """Return the rating from 1, highly unlikely, to 5, highly suspicious."""
        return self.ratings["malignancy"]


def series_of(path: Path) -> str | None:
    """Return the SeriesInstanceUID of the XML `path`; None if it is no reading of a CT.

    Only the header is read: the XML may be corrupt further on.

    Raises:
        DataError: the header is not valid XML or names no series.
    """
    inside = False
    try:
        with path.open("rb") as file:
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                if not inside and _local(element) != _ROOT:
                    return None
                inside = True
                if event == "end" and _local(element) == "SeriesInstanceUid":
                    return (element.text or "").strip() or _no_series(path)
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    return _no_series(path)


def read_annotations(path: Path) -> list[Annotation]:
    """Read the nodules of at least 3 mm, in the order of the XML.

    Annotations without all ratings (nodules below 3 mm), outlines of a single point, and nodules without any other
    outline are left out.

    Raises:
        DataError: the XML is corrupt, lacks an element, or has more readers than `MOST_READERS`.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    if _local(root) != _ROOT:
        raise DataError(f"{path}: its root element is <{_local(root)}>, not <{_ROOT}>", hint=_RENEW)
    sessions = _children(root, "readingSession")
    if len(sessions) > MOST_READERS:
        raise DataError(f"{path}: it has {len(sessions)} reading sessions, at most are {MOST_READERS}", hint=_RENEW)
    annotations = [
        _annotation(reader, nodule, path)
        for reader, session in enumerate(sessions)
        for nodule in _children(session, "unblindedReadNodule")
    ]
    return [each for each in annotations if all(each.ratings.values()) and each.outlines]


def _annotation(reader: int, nodule: Any, path: Path) -> Annotation:
    """Return an annotation: missing ratings are 0, outlines of one point are left out."""
    ratings = dict.fromkeys(CHARACTERISTICS, 0)
    for parent in _children(nodule, "characteristics"):
        for element in parent:
            if _local(element) in ratings and (element.text or "").strip():
                ratings[_local(element)] = _whole(element, path)
    outlines = (_outline(roi, path) for roi in _children(nodule, "roi"))
    kept = tuple(outline for outline in outlines if len(outline.points) > 1)
    return Annotation(reader, _text(nodule, "noduleID", path), ratings, kept)


def _outline(roi: Any, path: Path) -> Outline:
    inclusion = _text(roi, "inclusion", path).upper()
    if inclusion not in ("TRUE", "FALSE"):
        raise DataError(f"{path}: an <inclusion> is '{inclusion}', not TRUE or FALSE", hint=_RENEW)
    edges = _children(roi, "edgeMap")
    points = [[_whole(_child(edge, axis, path), path) for axis in ("xCoord", "yCoord")] for edge in edges]
    return Outline(
        image="".join((element.text or "").strip() for element in _children(roi, "imageSOP_UID")),
        z=_number(_child(roi, "imageZposition", path), path),
        included=inclusion == "TRUE",
        points=np.array(points, dtype=np.int64).reshape(-1, 2),
    )


def _local(element: Any) -> str:
    """Return an element's name without its namespace, if it has one."""
    return str(element.tag).rpartition("}")[2]


def _children(element: Any, name: str) -> list[Any]:
    return [child for child in element if _local(child) == name]


def _child(element: Any, name: str, path: Path) -> Any:
    found = _children(element, name)
    if not found:
        raise DataError(f"{path}: a <{_local(element)}> lacks its <{name}>", hint=_RENEW)
    return found[0]


def _text(element: Any, name: str, path: Path) -> str:
    return (_child(element, name, path).text or "").strip()


def _number(element: Any, path: Path) -> float:
    try:
        number = float(element.text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{path}: a <{_local(element)}> is '{element.text or ''}', not a number", hint=_RENEW)
    return number


def _whole(element: Any, path: Path) -> int:
    number = _number(element, path)
    if not number.is_integer():
        raise DataError(f"{path}: a <{_local(element)}> is {number:g}, not a whole number", hint=_RENEW)
    return int(number)


def _no_series(path: Path) -> str:
    raise DataError(f"{path}: its <{_ROOT}> names no SeriesInstanceUid", hint=_RENEW)


def _unreadable(path: Path, error: Exception) -> DataError:
    cause = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: it cannot be read as XML ({cause[:200]})", hint=_RENEW)
