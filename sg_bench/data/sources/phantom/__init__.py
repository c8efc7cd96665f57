"""The embedded phantom: procedural chest CT, so that everything runs, and can be tested, without a download.

It is a proving ground and no substitute for patients: every table made from it says so. Only `PhantomSource.load`
imports what computes the volumes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from sg_bench.data.sources.base import Case, Problem, Source, SourceConfig, Study
from sg_bench.data.sources.phantom.organs import Organ
from sg_bench.errors import DataError
from sg_bench.recipes import Shape

__all__ = ["Organ", "PhantomConfig", "PhantomSource"]

SMALLEST: Shape = (48, 48, 32)
"""Below this the smallest nodules fall between the voxels."""


class PhantomConfig(SourceConfig):
    """Which phantom patients, and how they were scanned."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    """Of the anatomy: enters every random stream, so another version means other patients."""
    patients: Annotated[int, Field(ge=1, le=10_000)] = 24
    """Patient i is the same whatever their number."""
    labelled: bool = False
    """Labelled patients are others than the unlabelled ones; they have nodules, a label map and candidates."""
    nuisance: Literal["clean", "scanner"] = "clean"
    """scanner: each labelled image has its own gamma, gain, offset and noise; unlabelled images never do."""
    cohort: Literal["development", "held_out"] = "development"
    """held_out patients serve committed results only: no choice made during development has seen them."""
    shape: Shape = (72, 72, 48)
    """Voxels; the field of view stays 360 x 360 x 288 mm."""

    @field_validator("shape")
    @classmethod
    def _large_enough(cls, shape: Shape) -> Shape:
        if any(size < least for size, least in zip(shape, SMALLEST, strict=True)):
            raise ValueError(f"shape must be at least {SMALLEST} voxels along (x, y, z), not {shape}")
        return shape


class PhantomSource(Source):
    """Chest CT computed on demand: the same bits for the same config and patient, in any process."""

    name: ClassVar[str] = "phantom"
    needs_root: ClassVar[bool] = False
    config: PhantomConfig

    def scan(self) -> list[Case]:
        """Return one case a patient, sorted by id; there are no files."""
        names = (f"{self._prefix}{index:04d}" for index in range(self.config.patients))
        return [Case(id=name, patient=name) for name in names]

    def problems(self) -> list[Problem]:
        """Return nothing: what is computed cannot be damaged."""
        return []

    def load(self, case: Case) -> Study:
        """Compute one case: image in HU, (x, y, z), RAS+; if labelled, `Organ` numbers and candidates too.

        Raises:
            DataError: the case is of another config.
        """
        from sg_bench.data.sources.phantom.streams import Identity
        from sg_bench.data.sources.phantom.studies import make_study

        config = self.config
        identity = Identity(config.version, config.cohort == "held_out", config.labelled, self._index(case))
        scanner = config.nuisance == "scanner"
        return make_study(identity, config.shape, scanner_nuisance=scanner)

    @property
    def _prefix(self) -> str:
        cohort = "h" if self.config.cohort == "held_out" else ""
        return f"phantom-{cohort}{'l' if self.config.labelled else 'u'}"

    def _index(self, case: Case) -> int:
        number = case.id.removeprefix(self._prefix)
        if number.isdecimal() and case.id == f"{self._prefix}{int(number):04d}" and int(number) < self.config.patients:
            return int(number)
        last = f"{self._prefix}{self.config.patients - 1:04d}"
        raise DataError(
            f"the phantom has no case '{case.id}': its ids run from {self._prefix}0000 to {last}",
            hint="Take cases from scan() of a source with this config",
        )
