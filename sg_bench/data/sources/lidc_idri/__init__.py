"""LIDC-IDRI: chest CT with nodules of at least 3 mm, outlined by up to four readers.

Series are found by their DICOM tags and joined with their XML by SeriesInstanceUID, in any layout: the former one of
the archive, that of its present downloader, or with the XML in a separate tree.
"""

from __future__ import annotations

import filecmp
import math
import os
from collections import defaultdict
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sg_bench.data.sources.base import (
    Candidate,
    Case,
    DataSetInfo,
    Problem,
    PublicConfig,
    PublishedCount,
    SingleScanSource,
    Study,
    count_problems,
)
from sg_bench.data.sources.dicom import (
    DicomSeries,
    GapPolicy,
    SeriesFolder,
    find_series,
    read_image,
    read_series,
)
from sg_bench.data.sources.lidc_idri.annotations import read_annotations, series_of
from sg_bench.data.sources.lidc_idri.consensus import (
    ConsensusNodule,
    PlacedAnnotation,
    VoxelIndices,
    nodules,
    place_annotation,
)
from sg_bench.data.sources.volumes import as_problem
from sg_bench.errors import DataError

__all__ = ["ConsensusNodule", "LidcIdriConfig", "LidcIdriSource"]

_RESUBMITTED = "resubmitted"
"""Part of the name of an XML that replaces an earlier one of its series."""


class LidcIdriConfig(PublicConfig):
    """Choice of the readers' outlines, and their least agreement."""

    version: int = 2
    """2: slices at their mean distance where the median does not fit, and no series of uneven ones; 1 stacked all at
    their median distance."""
    readers: Literal["consensus", "each"] = "consensus"
    """consensus: label 1 is nodule, one candidate per nodule. each: bit r of the label map is the mask of reader r (0
    is the first in the XML), one candidate per annotation, its target all values with the reader's bit. A crop around
    an annotation then also contains the reader's other nodules there, as does a crop of that reader's mask."""
    min_readers: Annotated[int, Field(ge=1, le=4)] = 3
    """Consensus: least number of readers who annotated a nodule."""
    agreement: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Consensus: least fraction of the readers who annotated the nodule that must include a voxel."""
    gaps: GapPolicy = "refuse"
    """allow: if slices are missing, stack the others as if the series were complete."""


class LidcIdriSource(SingleScanSource):
    """CT series with readers' outlines of nodules; a case is a series, and a patient may have two."""

    name: ClassVar[str] = "lidc_idri"
    namespace: ClassVar[str] = "lidc"
    config: LidcIdriConfig
    about: ClassVar[DataSetInfo | None] = DataSetInfo(
        title="LIDC-IDRI: Lung Image Database Consortium and Image Database Resource Initiative",
        size="about 125 GB",
        licence="CC BY 3.0",
        citation=(
            "Armato et al., The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): "
            "A completed reference database of lung nodules on CT scans. Medical Physics 38:915-931, 2011. "
            "Data: doi.org/10.7937/K9/TCIA.2015.LO9QL9SX"
        ),
        where=(
            "https://www.cancerimagingarchive.net/collection/lidc-idri: download the images with the NBIA Data "
            "Retriever and the XML of the radiologists' annotations, and unpack both into one folder, in any layout"
        ),
        folders=("LIDC-IDRI",),
        counts=(PublishedCount("CT series", 1018, "recalled"), PublishedCount("patients", 1010, "recalled")),
    )

    def problems(self) -> list[Problem]:
        """Return all defects of the folders and of the XML; reads no slices."""
        cases, problems = self._scan_folder()
        for case in cases:
            try:
                read_annotations(_xml(case))
            except DataError as error:
                problems.append(as_problem(error))
        found = {"CT series": len(cases), "patients": len({case.patient for case in cases})}
        counts = self.about.counts if self.about and cases else ()
        return problems + count_problems(str(self.root), counts, found)

    def load(self, case: Case) -> Study:
        """Read one series in HU with a label map and candidates according to `LidcIdriConfig.readers`.

        A candidate is at the centre of mass of its mask, with the diameter of a sphere of equal volume; an empty mask
        yields no candidate.

        Raises:
            DataError: a file is corrupt, slices are missing, or the XML does not fit the series.
        """
        series, placed = self._placed(case)
        label = np.zeros(series.shape, dtype=np.uint8)
        if self.config.readers == "each":
            candidates = _per_reader(series, placed, label)
        else:
            found = nodules(placed, series, agreement=self.config.agreement)
            counted = [nodule for nodule in found if len(set(nodule.readers)) >= self.config.min_readers]
            candidates = _consensus(series, counted, label)
        even = "its slices are not evenly spaced, and stacked as if they were (`gaps` is allow)"
        return Study(
            image=read_image(series),
            affine=series.affine,
            label=label,
            candidates=candidates,
            notes=() if series.regular else (even,),
        )

    def nodules(self, case: Case) -> list[ConsensusNodule]:
        """Return all nodules of one case, also those of fewer than `min_readers`, without reading pixels.

        Raises:
            DataError: as for `load`, except for pixels.
        """
        series, placed = self._placed(case)
        return nodules(placed, series, agreement=self.config.agreement)

    def _placed(self, case: Case) -> tuple[DicomSeries, list[PlacedAnnotation]]:
        xml = _xml(case)
        annotations = read_annotations(xml)
        series = read_series([path for path in case.files() if path != xml], gaps=self.config.gaps)
        try:
            placed = [place_annotation(annotation, series, gaps=self.config.gaps) for annotation in annotations]
        except DataError as error:
            raise DataError(f"{xml}: {error.problem}", hint=error.hint) from error
        return series, [annotation for annotation in placed if len(annotation.outlined)]

    def _scan_folder(self) -> tuple[list[Case], list[Problem]]:
        root = self.root
        if root is None or not root.is_dir():
            return [], [Problem(str(root), "no such folder. Give the data set's folder as the source's root")]
        folders, problems = find_series(root)
        if not folders:
            what = "no CT series (.dcm files) in it or below. Give the folder that holds the patients' folders"
            return [], [*problems, Problem(str(root), what)]
        found = _by_series(folders, problems)
        readings = _readings(root, problems)
        cases = [
            Case(id=uid, patient=folder.patient, image=folder.files[0], label=xml, extra=folder.files[1:])
            for uid, folder in sorted(found.items())
            if (xml := _chosen(folder, readings.pop(uid, []), problems))
        ]
        for paths in readings.values():
            what = "its series is not here. Download the series if you want it"
            problems += [Problem(str(path), what, warning=True) for path in paths]
        return cases, problems


def _by_series(folders: list[SeriesFolder], problems: list[Problem]) -> dict[str, SeriesFolder]:
    """Return the first folder of each SeriesInstanceUID; report series in two folders."""
    found: dict[str, SeriesFolder] = {}
    for folder in folders:
        first = found.setdefault(folder.series, folder)
        if first is not folder:
            there = first.files[0].parent
            what = f"its series {folder.series} is also in {there}, which is used. Keep one of the two folders"
            problems.append(Problem(str(folder.files[0].parent), what))
    return found


def _readings(root: Path, problems: list[Problem]) -> dict[str, list[Path]]:
    """Return the XML files under `root` by their series; report unreadable ones."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in _xml_files(root):
        try:
            series = series_of(path)
        except DataError as error:
            problems.append(as_problem(error))
        else:
            if series is not None:
                found[series].append(path)
    return dict(found)


def _xml_files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if name.lower().endswith(".xml") and not name.startswith(".")]
    return sorted(found)


def _chosen(folder: SeriesFolder, paths: list[Path], problems: list[Problem]) -> Path | None:
    """Return the XML of a series, preferably in its folder; report missing and contradictory ones."""
    here = folder.files[0].parent
    if not paths:
        what = f"no XML of its series {folder.series} under the root. Download the annotations, or remove the series"
        problems.append(Problem(str(here), what, absent=True))
        return None
    newer = [path for path in paths if _RESUBMITTED in path.name.lower()]
    ranked = sorted(newer or paths, key=lambda path: (path.parent != here, path))
    others = [path for path in ranked[1:] if not filecmp.cmp(ranked[0], path, shallow=False)]
    if others:
        what = f"{', '.join(map(str, others))} has other annotations of the same series. Keep the one that is right"
        problems.append(Problem(str(ranked[0]), what))
    return ranked[0]


def _xml(case: Case) -> Path:
    if case.label is None:
        raise DataError(f"{case.id}: it names no XML", hint="Scan the folder again")
    return case.label


def _consensus(series: DicomSeries, found: list[ConsensusNodule], label: NDArray[np.uint8]) -> list[Candidate]:
    """Write the nodules to `label` as 1 and return their candidates."""
    for nodule in found:
        label[tuple(nodule.mask.T)] = 1
    return [_candidate(series, nodule.mask) for nodule in found if len(nodule.mask)]


def _per_reader(series: DicomSeries, placed: list[PlacedAnnotation], label: NDArray[np.uint8]) -> list[Candidate]:
    """Write each reader's mask to its bit of `label` and return the candidates of the annotations."""
    candidates = []
    for annotation in placed:
        bit = 1 << annotation.annotation.reader
        label[tuple(annotation.mask.T)] |= np.uint8(bit)
        if len(annotation.mask):
            candidates.append(_candidate(series, annotation.mask, tuple(value for value in range(256) if value & bit)))
    return candidates


def _candidate(series: DicomSeries, mask: VoxelIndices, target: tuple[int, ...] = ()) -> Candidate:
    x, y, z = (series.affine[:3, :3] @ mask.mean(axis=0) + series.affine[:3, 3]).tolist()
    volume = len(mask) * float(np.prod(series.spacing))
    return Candidate((x, y, z), positive=True, diameter=math.cbrt(6 * volume / math.pi), target=target)
