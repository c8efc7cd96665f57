"""What a source is: a reader of one public data set in its official layout, or of a user's folder.

Scanning touches names and sizes only, so planning stays instant; `load` reads one case. Nothing here imports torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sg_bench.config import Model
from sg_bench.errors import DataError
from sg_bench.workspace import file_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Case:
    """One image of a data set, found but not read."""

    id: str
    """Stable and unique within the source."""
    patient: str
    """Cases of one patient never stand on both sides of a split."""
    image: Path | None = None
    label: Path | None = None
    """Label map; None where the source has none."""
    extra: tuple[Path, ...] = ()
    """Further files that reading takes, such as the .raw beside an .mhd."""
    group: str = ""
    """Where the data set itself puts the case, as "subset3", "test" or "HGG"; "" where it makes no such division."""
    findings: tuple[int, ...] = ()
    """1 or 0 for each of the source's `findings`: what the whole image shows."""

    def files(self) -> list[Path]:
        """Return the files that this case is read from."""
        return [path for path in (self.image, self.label, *self.extra) if path is not None]


@dataclass(frozen=True)
class Candidate:
    """A place in an image that a task asks about."""

    position: tuple[float, float, float]
    """World coordinates in mm, RAS+ (nibabel's convention), of the candidate's centre."""
    positive: bool
    """Whether it is the finding (a nodule) or only looks like one."""
    diameter: float | None = None
    """In mm, where known."""
    target: tuple[int, ...] = ()
    """Values of the label map that are this very finding, where several overlap; (): the task's own."""


@dataclass(frozen=True)
class Study:
    """One case as read: native intensities on the native grid."""

    image: NDArray[np.float32]
    """(x, y, z), in HU for CT, in the scanner's units for MRI; a film is (columns, rows, 1), rows from top to bottom,
    in its own grey values, bright where the body absorbs."""
    affine: NDArray[np.float64]
    """4x4: voxel indices to world mm, RAS+. A film has no place in the world: its own is `film_affine`."""
    label: NDArray[np.uint8] | None = None
    """(x, y, z), the source's own class numbers, 0 for background."""
    candidates: list[Candidate] = field(default_factory=list)


@dataclass(frozen=True)
class Problem:
    """A defect found while scanning or reading: where, and what is wrong."""

    where: str
    what: str
    warning: bool = False
    """Worth knowing, but nothing is lost by it: a count that is only recalled, say, differs."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class PublishedCount:
    """How many of something a data set holds when it is complete."""

    what: str
    """In the plural, as "CT scans"."""
    number: int
    certainty: Literal["verified", "derived", "recalled"]


@dataclass(frozen=True)
class DataSetInfo:
    """A public data set, for `sg-bench data list` and for whoever cites it."""

    title: str
    size: str
    """On disk, as the user keeps it."""
    licence: str
    citation: str
    where: str
    """How to get it: the address, and what to do there."""
    folders: tuple[str, ...] = ()
    """Names that its folder usually has, for `--data-root`; the data's own name always counts."""
    counts: tuple[PublishedCount, ...] = ()


def first_problem_error(problems: list[Problem]) -> DataError:
    """Return an error that tells the first of `problems` and how many follow."""
    more = f" ({len(problems) - 1} more problems of this kind or another)" if len(problems) > 1 else ""
    return DataError(f"{problems[0]}{more}")


def count_problems(where: str, counts: tuple[PublishedCount, ...], found: dict[str, int]) -> list[Problem]:
    """Return what differs from the published counts: an error where they were verified, a warning where not."""
    return [
        Problem(
            where,
            f"it holds {found[each.what]} {each.what}, published are {each.number} ({each.certainty}). "
            "Complete the download, unless a part is what you want",
            warning=each.certainty == "recalled",
        )
        for each in counts
        if each.what in found and found[each.what] != each.number
    ]


def film_affine(spacing: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    """Return the affine of a film: columns and rows along the first two axes, `spacing` mm (or 1) apart.

    It names the axes R and A only so that preparing in RAS leaves a film as it is.
    """
    import numpy as np

    return np.diag([*spacing, 1.0, 1.0])


class Source(ABC):
    """A data set that can be listed and read.

    Args:
        config: the source's own `Config`, which is part of every key made from it.
        root: the data set's folder; None for a source that needs none (the phantom).
    """

    name: ClassVar[str]
    needs_root: ClassVar[bool] = True
    about: ClassVar[DataSetInfo | None] = None
    """None for what is no public data set."""
    namespace: ClassVar[str] = ""
    """Sources of one namespace call one image, and one patient, alike: so data sets that overlap are found out. "":
    names mean nothing beyond this folder."""
    findings: ClassVar[tuple[str, ...]] = ()
    """What `Case.findings` says, in this order."""

    def __init__(self, config: Any, root: Path | None) -> None:
        self.config = config
        self.root = root

    @abstractmethod
    def scan(self) -> list[Case]:
        """Return all cases, sorted by id, without reading any image.

        Raises:
            DataError: nothing usable is there.
        """

    @abstractmethod
    def problems(self) -> list[Problem]:
        """Return every defect that scanning can see, all at once."""

    @abstractmethod
    def load(self, case: Case) -> Study:
        """Read one case.

        Raises:
            DataError: the file is damaged or its parts do not fit together; names the file, the cause, the next step.
        """

    def tables(self) -> list[Path]:
        """Return the files that tell of many cases at once (lists, CSV): all of them that `scan` or `load` reads."""
        return []

    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        """Return all cases by names and sizes, and the tables by content: the data's part of a recipe."""
        cases = [
            {
                "id": case.id,
                "patient": case.patient,
                "group": case.group,
                "findings": case.findings,
                "files": [[_relative(path, self.root), path.stat().st_size] for path in case.files()],
            }
            for case in self.scan()
        ]
        return {"cases": cases, "tables": [{"sha256": file_digest(path)} for path in self.tables()]}


class SingleScanSource(Source):
    """A source that looks through its folder once for both: the cases that can be used, and what is wrong with it.

    A case in doubt is left out and stops no other.
    """

    @abstractmethod
    def _scan_folder(self) -> tuple[list[Case], list[Problem]]:
        """Return the usable cases, sorted by id, and every defect that scanning sees."""

    def scan(self) -> list[Case]:
        """Return all usable cases, sorted by id, without reading any image.

        Raises:
            DataError: there is none; tells the first defect, and how many more there are.
        """
        cases, problems = self._scan_folder()
        if not cases:
            raise first_problem_error([problem for problem in problems if not problem.warning] or problems)
        return cases


class SourceConfig(Model):
    """Settings of a source; `version` changes whenever what it yields would."""

    version: int = 1


def _relative(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root else path.name
