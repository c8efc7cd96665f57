"""Base classes of sources: readers of public data sets in their official layout, or of a user's folder.

`scan` uses file names and sizes only, so that planning is fast; `load` reads one case. torch is not imported here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from sg_bench.config import Model, NotInKey
from sg_bench.errors import DataError
from sg_bench.workspace import file_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Case:
    """One image of a data set, not yet read."""

    id: str
    """Stable and unique within the source."""
    patient: str
    """Cases of one patient are always in the same part of a split."""
    image: Path | None = None
    label: Path | None = None
    """Label map; None if the source has none."""
    extra: tuple[Path, ...] = ()
    """Further files that are read, such as the .raw file of an .mhd header."""
    group: str = ""
    """The data set's own division, such as "subset3", "test" or "HGG"; "" if it has none."""
    findings: tuple[int, ...] = ()
    """1 or 0 for each of the source's `findings`: the image-level labels."""
    channels: tuple[Path, ...] = ()
    """Further images on the grid of `image`, which is channel 0; () where `image` holds all channels."""
    attributes: Mapping[str, str | float] = field(default_factory=dict, hash=False)
    """Columns of the data set's table, such as age or diagnosis; a column without a value is absent."""

    def files(self) -> list[Path]:
        """Return the files that this case is read from."""
        return [path for path in (self.image, *self.channels, self.label, *self.extra) if path is not None]


@dataclass(frozen=True)
class Candidate:
    """A location in an image that a task classifies or segments."""

    position: tuple[float, float, float]
    """World coordinates in mm, RAS+ (nibabel's convention), of the candidate's centre."""
    positive: bool
    """Whether it is the finding (a nodule) or only resembles it."""
    diameter: float | None = None
    """In mm; None if unknown."""
    target: tuple[int, ...] = ()
    """Values of the label map that belong to this candidate, if several overlap; (): those of the task."""


@dataclass(frozen=True)
class Study:
    """One case as read: native intensities on the native grid."""

    image: NDArray[np.float32]
    """(x, y, z), or (channels, x, y, z) if there are several; in HU for CT, in scanner units for MRI; a film is
    (columns, rows, 1), rows from top to bottom, in its own grey values, bright where the body absorbs."""
    affine: NDArray[np.float64]
    """4x4: voxel indices to world mm, RAS+; for a film, `film_affine`."""
    label: NDArray[np.uint8] | None = None
    """(x, y, z), the source's own class numbers, 0 for background."""
    candidates: list[Candidate] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    """What reading changed or found doubtful, such as slices brought to a regular grid; one line each."""


@dataclass(frozen=True)
class Problem:
    """A defect found in scanning or reading."""

    where: str
    """The file or folder."""
    what: str
    """The defect and the next step."""
    warning: bool = False
    """Whether no data are lost by it, such as a deviation from a count given from memory."""
    absent: bool = False
    """Whether files are only missing, as in a deliberate subset of a public data set."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class PublishedCount:
    """A published count, by which a complete data set can be recognised."""

    what: str
    """In the plural, such as "CT scans"."""
    number: int
    certainty: Literal["verified", "derived", "recalled"]


@dataclass(frozen=True)
class DataSetInfo:
    """Description of a public data set, for `sg-bench data list` and for citation."""

    title: str
    size: str
    """On disk."""
    licence: str
    citation: str
    where: str
    """How to obtain it: the address, and the steps there."""
    folders: tuple[str, ...] = ()
    """Usual names of its folder, for `--data-root`; the name of the data set is always accepted."""
    counts: tuple[PublishedCount, ...] = ()


OR_SUBSET = "or set `subset: true` in the source's config if a part is what you want"
"""Advice for problems that are `absent`."""


def declared(problems: list[Problem], config: SourceConfig) -> list[Problem]:
    """Return `problems`, of which those of missing files are warnings if the copy is declared to be a subset."""
    if not getattr(config, "subset", False):
        return problems
    return [replace(problem, warning=problem.warning or problem.absent) for problem in problems]


def first_problem_error(problems: list[Problem]) -> DataError:
    """Return an error with the first of `problems` and the number of further ones."""
    more = f" ({len(problems) - 1} more problems of this kind or another)" if len(problems) > 1 else ""
    return DataError(f"{problems[0]}{more}")


def count_problems(where: str, counts: tuple[PublishedCount, ...], found: dict[str, int]) -> list[Problem]:
    """Return deviations from the published counts: errors, or warnings for counts given from memory."""
    return [
        Problem(
            where,
            f"it holds {found[each.what]} {each.what}, published are {each.number} ({each.certainty}). "
            f"Complete the download, {OR_SUBSET}",
            warning=each.certainty == "recalled",
            absent=True,
        )
        for each in counts
        if each.what in found and found[each.what] != each.number
    ]


def film_affine(spacing: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    """Return the affine of a film: columns and rows along the first two axes, `spacing` mm (or 1) apart.

    The axes are R and A only so that preparation in RAS does not reorient a film.
    """
    import numpy as np

    return np.diag([*spacing, 1.0, 1.0])


class Source(ABC):
    """A reader of one data set: lists its cases and reads them.

    Args:
        config: the source's own `Config`, which enters the keys of everything computed from it.
        root: the data set's folder; None for a source without files (the phantom).
    """

    name: ClassVar[str]
    needs_root: ClassVar[bool] = True
    about: ClassVar[DataSetInfo | None] = None
    """None if it is no public data set."""
    namespace: ClassVar[str] = ""
    """Sources with the same namespace use the same ids for images and patients, so that overlaps between data sets can
    be detected. "": ids have no meaning outside this folder."""
    generated: ClassVar[bool] = False
    """Whether images are computed: patients then look alike to fingerprints, which are made for scans, so that only an
    exact copy counts as the same image."""
    findings: ClassVar[tuple[str, ...]] = ()
    """Names of the entries of `Case.findings`, in order."""

    def __init__(self, config: Any, root: Path | None) -> None:
        self.config = config
        self.root = root

    @abstractmethod
    def scan(self) -> list[Case]:
        """Return all cases, sorted by id, without reading any image.

        Raises:
            DataError: there is no usable case.
        """

    @abstractmethod
    def problems(self) -> list[Problem]:
        """Return all defects that scanning can detect."""

    def left_out(self) -> list[Problem]:
        """Return the defects because of which something in the folder is in no case, unless it is declared."""
        return []

    @abstractmethod
    def load(self, case: Case) -> Study:
        """Read one case.

        Raises:
            DataError: the file is corrupt or its parts are inconsistent; names the file, the cause and the next step.
        """

    @property
    def channels(self) -> int:
        """Return the number of channels of every image, from the settings alone."""
        return len(getattr(self.config, "channels", ())) or 1

    @cached_property
    def cases(self) -> list[Case]:
        """All cases, scanned once.

        Raises:
            DataError: there is no usable case.
        """
        return self.scan()

    def tables(self) -> list[Path]:
        """Return the files about many cases (lists, CSV) that `scan` or `load` reads."""
        return []

    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        """Return the cases by file names and sizes, and the tables by content: the data set's entry in a recipe."""
        cases = [self._listed(case) for case in self.cases]
        return {"cases": cases, "tables": [{"sha256": file_digest(path)} for path in self.tables()]}

    def _listed(self, case: Case) -> dict[str, Any]:
        """Return the entry of one case in the manifest; attributes are in it only where there are some."""
        files = [
            [path.relative_to(self.root).as_posix() if self.root else path.name, path.stat().st_size]
            for path in case.files()
        ]
        entry = {"id": case.id, "patient": case.patient, "group": case.group, "findings": case.findings, "files": files}
        return {**entry, "attributes": dict(case.attributes)} if case.attributes else entry


class SingleScanSource(Source):
    """A source that finds both its usable cases and its problems in one scan of the folder.

    Questionable cases are left out and do not affect others.
    """

    @abstractmethod
    def _scan_folder(self) -> tuple[list[Case], list[Problem]]:
        """Return the usable cases, sorted by id, and all defects that scanning can detect."""

    def scan(self) -> list[Case]:
        """Return all usable cases, sorted by id, without reading any image.

        Raises:
            DataError: there is none; contains the first defect and the number of further ones.
        """
        cases, problems = self._scanned
        if not cases:
            raise first_problem_error([problem for problem in problems if not problem.warning] or problems)
        return list(cases)

    def left_out(self) -> list[Problem]:
        """Return the defects because of which something in the folder is in no case, unless it is declared."""
        return [problem for problem in declared(self._scanned[1], self.config) if not problem.warning]

    @cached_property
    def _scanned(self) -> tuple[list[Case], list[Problem]]:
        return self._scan_folder()


class SourceConfig(Model):
    """Settings of a source; `version` changes whenever its output does."""

    version: int = 1


class PublicConfig(SourceConfig):
    """Settings of the source of a public data set."""

    subset: Annotated[bool, NotInKey()] = False
    """The copy is a part of the data set on purpose: missing files are warnings, no errors."""
