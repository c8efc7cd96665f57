"""The built-in phantom: procedural chest CT, brain MRI and chest films, so that everything runs without a download.

It is for tests and demonstrations and does not replace patients, as every table made from it notes. Only
`PhantomSource.load` imports the modules that compute images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sg_bench.config import AddedLater, Shape
from sg_bench.data.sources.base import Case, Problem, Source, SourceConfig, Study
from sg_bench.data.sources.phantom.organs import FINDINGS, Organ
from sg_bench.errors import DataError

if TYPE_CHECKING:
    from sg_bench.data.sources.phantom.streams import PatientIdentity

__all__ = ["Organ", "PhantomConfig", "PhantomSource"]

Modality = Literal["ct", "mri", "film"]

SHAPES: dict[Modality, Shape] = {"ct": (72, 72, 48), "mri": (48, 48, 40), "film": (64, 64, 1)}
SMALLEST: dict[Modality, Shape] = {"ct": (48, 48, 32), "mri": (32, 32, 27), "film": (48, 48, 1)}
"""Least shapes: in coarser grids the smallest lesions would fall between the voxels."""


class PhantomConfig(SourceConfig):
    """Settings of the phantom patients and of the scanner."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    """Version of the anatomy; enters every random stream, so that other versions have other patients."""
    modality: Modality = "ct"
    """ct: chests; film: one film each of the same chests; mri: skull-stripped brains of other patients."""
    sequence: Literal["flair", "t1", "t1ce", "t2"] = "flair"
    """MRI sequence; mri only."""
    patients: Annotated[int, Field(ge=1, le=10_000)] = 24
    """Number of patients; patient i does not depend on it."""
    labelled: bool = False
    """Labelled patients differ from the unlabelled ones, and only they have disease. A CT has nodules, a map of `Organ`
    numbers and candidates; a brain has a tumour in BraTS's classes; a film has findings, with pneumothorax segmented as
    1. White-matter lesions are in every brain and belong to no class."""
    nuisance: Literal["clean", "scanner", "acquisition"] = "clean"
    """Each labelled image has its own, unlabelled images have none. scanner: gamma, gain, offset and noise;
    acquisition: slice thickness, blur, bias field and field of view."""
    cohort: Literal["development", "held_out"] = "development"
    """held_out: patients for committed results only, not used for any choice during development."""
    attributes: Annotated[tuple[Literal["contrast", "phase", "blood"], ...], AddedLater()] = ()
    """What each case's row of a table holds; ct only. contrast: native or enhanced; phase: native, weak or strong;
    blood: attenuation of the blood in HU."""
    shape: Shape = SHAPES["ct"]
    """Voxels; (columns, rows, 1) for a film. Default: 72 x 72 x 48 (ct), 48 x 48 x 40 (mri) or 64 x 64 x 1 (film). The
    field of view is always 360 x 360 x 288 mm (ct), 192 x 192 x 160 mm (mri) or 360 x 230 mm (film)."""

    @model_validator(mode="before")
    @classmethod
    def _default_shape(cls, given: Any) -> Any:
        if isinstance(given, dict) and "shape" not in given and given.get("modality") in SHAPES:
            return {**given, "shape": SHAPES[given["modality"]]}
        return given

    @model_validator(mode="after")
    def _check_consistency(self) -> PhantomConfig:
        least = SMALLEST[self.modality]
        if any(size < smallest for size, smallest in zip(self.shape, least, strict=True)):
            raise ValueError(f"shape of {self.modality} must be at least {least} along (x, y, z), not {self.shape}")
        if self.modality == "film" and self.shape[2] != 1:
            raise ValueError(f"shape of film must be (columns, rows, 1), not {self.shape}")
        if self.modality != "mri" and self.sequence != "flair":
            raise ValueError(f"sequence belongs to mri, so {self.modality} cannot have '{self.sequence}'")
        if self.modality != "ct" and self.attributes:
            raise ValueError(f"attributes are those of a ct, so {self.modality} has none")
        return self


class PhantomSource(Source):
    """Images computed on demand, bit for bit the same for the same config and patient in any process."""

    name: ClassVar[str] = "phantom"
    generated: ClassVar[bool] = True
    needs_root: ClassVar[bool] = False
    namespace: ClassVar[str] = "phantom"
    findings: ClassVar[tuple[str, ...]] = FINDINGS
    """For labelled films only."""
    config: PhantomConfig

    def scan(self) -> list[Case]:
        """Return one case per patient, sorted by id; there are no files."""
        return [self._case(index) for index in range(self.config.patients)]

    def problems(self) -> list[Problem]:
        """Return []: computed images have no defects."""
        return []

    def load(self, case: Case) -> Study:
        """Compute one case: a volume (x, y, z), RAS+, or a film (columns, rows, 1); see `PhantomConfig` for labels.

        A CT is in HU. A brain is in scanner units, above 0, and exactly 0 outside. A film is in [0, 255].

        Raises:
            DataError: the case belongs to another config.
        """
        from sg_bench.data.sources.phantom import studies

        config, identity = self.config, self._identity(self._index(case))
        if config.modality == "mri":
            return studies.make_mri(identity, config.sequence, config.shape, nuisance=config.nuisance)
        make = studies.make_film if config.modality == "film" else studies.make_ct
        return make(identity, config.shape, nuisance=config.nuisance)

    @property
    def _population(self) -> str:
        cohort = "h" if self.config.cohort == "held_out" else ""
        return f"{cohort}{'l' if self.config.labelled else 'u'}"

    @property
    def _prefix(self) -> str:
        image = {"ct": "", "mri": f"brain-{self.config.sequence}-", "film": "film-"}
        return f"phantom-{image[self.config.modality]}{self._population}"

    def _case(self, index: int) -> Case:
        body = "brain-" if self.config.modality == "mri" else ""
        patient = f"phantom-{body}{self._population}{index:04d}"
        return Case(
            id=f"{self._prefix}{index:04d}",
            patient=patient,
            findings=self._findings(index),
            attributes=self._attributes(index),
        )

    def _findings(self, index: int) -> tuple[int, ...]:
        if self.config.modality != "film" or not self.config.labelled:
            return ()
        from sg_bench.data.sources.phantom.findings import draw_findings

        return draw_findings(self._identity(index))

    def _attributes(self, index: int) -> dict[str, str | float]:
        if not self.config.attributes:
            return {}
        from sg_bench.data.sources.phantom.attributes import draw_attributes

        return draw_attributes(self._identity(index), self.config.attributes)

    def _identity(self, index: int) -> PatientIdentity:
        from sg_bench.data.sources.phantom.streams import PatientIdentity

        return PatientIdentity(self.config.version, self.config.cohort == "held_out", self.config.labelled, index)

    def _index(self, case: Case) -> int:
        number = case.id.removeprefix(self._prefix)
        if number.isdecimal() and case.id == f"{self._prefix}{int(number):04d}" and int(number) < self.config.patients:
            return int(number)
        last = f"{self._prefix}{self.config.patients - 1:04d}"
        raise DataError(
            f"the phantom has no case '{case.id}': its ids run from {self._prefix}0000 to {last}",
            hint="Take cases from scan() of a source with this config",
        )
