"""A folder of images in one of the layouts that laboratories have: a user's own data.

Flat, or a folder for each patient, by a pattern with named parts; nnU-Net's raw data; the Medical Segmentation
Decathlon; BIDS; DICOM series; or a table. Volumes are NIfTI, MetaImage, NRRD or DICOM, films PNG, JPEG, TIFF or DICOM.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from sg_bench.data.sources.base import Case, Problem, Source, Study, first_problem_error
from sg_bench.data.sources.folder.bids import recognise_bids, scan_bids
from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.folder.decathlon import recognise_decathlon, scan_decathlon
from sg_bench.data.sources.folder.found import FoundFolder, LayoutReader, note_duplicates, set_patients
from sg_bench.data.sources.folder.nnunet import recognise_nnunet, scan_nnunet
from sg_bench.data.sources.folder.patterns import scan_pattern
from sg_bench.data.sources.folder.reading import file_stem, read_study
from sg_bench.data.sources.folder.recognise import recognise_pattern
from sg_bench.data.sources.folder.series import irregularity, load_series, recognise_series, scan_series
from sg_bench.data.sources.folder.table import join_table, read_table, scan_table
from sg_bench.data.sources.headers import data_files
from sg_bench.data.sources.volumes import as_problem, no_such_folder
from sg_bench.errors import DataError

__all__ = ["FolderConfig", "FolderSource", "recognise"]

LAYOUTS: Mapping[str, LayoutReader] = {
    "pattern": scan_pattern,
    "nnunet": scan_nnunet,
    "msd": scan_decathlon,
    "bids": scan_bids,
    "dicom": scan_series,
}
RECOGNISERS = (recognise_decathlon, recognise_nnunet, recognise_bids, recognise_series, recognise_pattern)


def recognise(root: Path) -> FolderConfig | None:
    """Return the settings that read the images of a folder in a known layout; None if it has none.

    The layout is that of the first recogniser that finds images: names and headers are looked at, no voxels.
    """
    return next((config for each in RECOGNISERS if (config := each(root)) is not None), None)


class FolderSource(Source):
    """Images under one folder, each with an optional label map.

    A case that cannot be used, for whatever reason, stays in the list, so that no other case changes its part of a
    split; reading it raises the reason.
    """

    name: ClassVar[str] = "folder"
    config: FolderConfig

    def scan(self) -> list[Case]:
        """Return all cases, sorted by id with numbers as numbers, without reading any image.

        Raises:
            DataError: no case can be used; the first of `problems()`.
        """
        found = self._found
        if all(case.problem for case in found.cases):
            raise first_problem_error([each for each in self.problems() if not each.warning] or self.problems())
        return [case.as_case() for case in found.cases]

    def problems(self) -> list[Problem]:
        """Return all defects that scanning can detect: missing, duplicate or unlabelled files, and those of a table.

        Of DICOM series the positions of slices are read, to name those that are brought to a regular grid.
        """
        found = [*(case.problem for case in self._found.cases if case.problem), *self._found.problems]
        return [*found, *self._irregular()] if self.config.layout == "dicom" else found

    def left_out(self) -> list[Problem]:
        """Return the defects because of which a file or row is in no case, unless it is declared."""
        return [problem for problem in self._found.problems if not problem.warning]

    def load(self, case: Case) -> Study:
        """Read one case in native intensities.

        Raises:
            DataError: a file is missing or corrupt, not finite, constant, or image and label have different grids.
        """
        if reason := self._unusable.get(case.id):
            where, _, what = f"{reason}".rpartition(". ")
            raise DataError(where, hint=what)
        if case.image is None:
            raise DataError(f"{case.id}: it names no image file", hint="Scan the folder again")
        if self.config.layout == "dicom":
            return load_series([case.image, *case.extra], case.label, self.config)
        return read_study([case.image, *case.channels], case.label, self.config.channels)

    def tables(self) -> list[Path]:
        """Return the table, if there is one."""
        path = self.root / self.config.table if self.root and self.config.table else None
        return [path] if path and path.is_file() else []

    def _irregular(self) -> list[Problem]:
        """Return a warning for each series whose slices are no regular grid."""
        found = []
        for case in self._found.cases:
            if case.problem or case.image is None:
                continue
            with suppress(DataError):  # named where the case is read
                note = irregularity([case.image, *case.extra], self.config)
                found += [Problem(str(case.image.parent), f"{note} (series {case.id})", warning=True)] if note else []
        return found

    @cached_property
    def _unusable(self) -> dict[str, Problem]:
        return {case.id: case.problem for case in self._found.cases if case.problem}

    @cached_property
    def _found(self) -> FoundFolder:
        """What one scan of the folder finds."""
        root, config = self.root, self.config
        if root is None or not root.is_dir():
            return FoundFolder(problems=[no_such_folder(root)])
        try:
            return _scanned(root, config)
        except DataError as error:
            return FoundFolder(problems=[as_problem(error)])


def _scanned(root: Path, config: FolderConfig) -> FoundFolder:
    table = read_table(root, config) if config.table else None
    if table and table.lists_images(config):
        found = scan_table(root, config, table)
    else:
        found = LAYOUTS[config.layout](root, config)
        if config.table and table and found.cases:
            join_table(found, config, table)
    missing = {*config.declared_missing}
    found.cases = [case for case in note_duplicates(found.cases) if case.id not in missing]
    found.problems = [each for each in found.problems if file_stem(Path(each.where)) not in missing]
    if not found.cases and not found.problems:
        found.problems.append(Problem(str(root), "no case is left. Correct `declared_missing`, or the layout"))
    set_patients(found, config)
    for case in found.cases:
        for path in (case.image, *case.channels, case.label):
            if path is not None and config.layout != "dicom":
                problems: list[Problem] = []
                case.extra += tuple(data_files(path, problems))
                case.problem = case.problem or next(iter(problems), None)
    return found
