"""What a source is: a reader of one public data set in its official layout, or of a user's folder.

Scanning touches names and sizes only, so planning stays instant; `load` reads one case. Nothing here imports torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sg_bench.recipes import Model

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


@dataclass(frozen=True)
class Study:
    """One case as read: native intensities on the native grid."""

    image: NDArray[np.float32]
    """(x, y, z), in HU for CT, in the scanner's units for MRI."""
    affine: NDArray[np.float64]
    """4x4: voxel indices to world mm, RAS+."""
    label: NDArray[np.uint8] | None = None
    """(x, y, z), the source's own class numbers, 0 for background."""
    candidates: list[Candidate] = field(default_factory=list)


@dataclass(frozen=True)
class Problem:
    """A defect found while scanning or reading: where, and what is wrong."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Source(ABC):
    """A data set that can be listed and read.

    Args:
        config: the source's own `Config`, which is part of every key made from it.
        root: the data set's folder; None for a source that needs none (the phantom).
    """

    name: ClassVar[str]
    needs_root: ClassVar[bool] = True

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

    def manifest(self) -> list[dict[str, Any]]:
        """Return ids, patients, relative paths and sizes of all cases: the data's part of a recipe."""
        return [
            {
                "id": case.id,
                "patient": case.patient,
                "files": [[_relative(path, self.root), path.stat().st_size] for path in case.files()],
            }
            for case in self.scan()
        ]


class SourceConfig(Model):
    """Settings of a source; `version` changes whenever what it yields would."""

    version: int = 1


def _relative(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root else path.name
