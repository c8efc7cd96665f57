"""A folder of NIfTI or MetaImage files: a user's own data, or any data set with one file per image."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from sg_bench.data.sources.base import Case, Problem, Source, SourceConfig, Study, first_problem_error
from sg_bench.data.sources.volumes import (
    ENDINGS,
    case_id,
    check_affines,
    check_shapes,
    data_files,
    is_system_file,
    leaves_folder,
    natural_key,
    no_such_folder,
    read_label,
    read_volume,
)
from sg_bench.errors import DataError


class FolderConfig(SourceConfig):
    """Patterns of image and label files, and of the patient's id."""

    images: str = "images/*"
    """Glob relative to the root; files that are neither NIfTI nor MetaImage are ignored."""
    labels: str | None = None
    """Path relative to the root with "{id}" in it, such as "labelsTr/{id}.nii.gz"; None for images alone."""
    patient: str | None = None
    """Regular expression with one group, searched in the id: the group is the patient. None: the id is."""

    @field_validator("patient")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        try:
            groups = 1 if value is None else re.compile(value).groups
        except re.error as error:
            raise ValueError(f"patient '{value}' is not a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"patient must have exactly one group, such as '^(\\d+)_', not {groups}: '{value}'")
        return value


class FolderSource(Source):
    """Images matched by a glob under one folder, each with an optional label map."""

    name: ClassVar[str] = "folder"
    config: FolderConfig

    def scan(self) -> list[Case]:
        """Return all cases, sorted by id with numbers as numbers, without reading any image.

        Raises:
            DataError: the first of `problems()`.
        """
        cases, problems = self._scan_folder()
        if problems:
            raise first_problem_error(problems)
        return cases

    def problems(self) -> list[Problem]:
        """Return all defects that scanning can detect: missing, unreadable, duplicate or unlabelled files."""
        return self._scan_folder()[1]

    def load(self, case: Case) -> Study:
        """Read one case in native intensities.

        Raises:
            DataError: a file is corrupt, not one volume, not finite, or image and label have different grids.
        """
        if case.image is None:
            raise DataError(f"{case.id}: it names no image file", hint="Scan the folder again")
        image, affine = read_volume(case.image)
        label = None
        if case.label is not None:
            label, label_affine = read_label(case.label)
            check_shapes(case.image, image.shape, case.label, label.shape)
            check_affines(case.image, affine, case.label, label_affine)
        return Study(image=image, affine=affine, label=label)

    def _scan_folder(self) -> tuple[list[Case], list[Problem]]:
        root = self.root
        if root is None or not root.is_dir():
            return [], [no_such_folder(root)]
        unsafe = [text for text in (self.config.images, self.config.labels) if text and leaves_folder(text)]
        if unsafe:
            what = "it leaves the data set's folder. Write it relative to the root, without '..'"
            return [], [Problem(f"{root}: pattern '{text}'", what) for text in unsafe]
        paths = _matches(root, self.config.images)
        if not paths:
            what = f"no {', '.join(ENDINGS)} file matches. Set `images` to a glob relative to this folder"
            return [], [Problem(f"{root}: images '{self.config.images}'", what)]
        problems = _duplicates(paths)
        cases = [self._case(root, path, problems) for path in paths]
        return cases, problems

    def _case(self, root: Path, path: Path, problems: list[Problem]) -> Case:
        identity, patient = case_id(path), case_id(path)
        if self.config.patient is not None:
            match = re.search(self.config.patient, identity)
            if match is None or not match[1]:
                what = f"`patient` '{self.config.patient}' finds nothing in the id '{identity}'. Correct the expression"
                problems.append(Problem(str(path), what))
            else:
                patient = match[1]
        label = None if self.config.labels is None else root / self.config.labels.replace("{id}", identity)
        if label is not None and not label.is_file():
            what = f"its label {label} is missing. Add it, remove the image, or correct `labels`"
            problems.append(Problem(str(path), what))
        extra = [*data_files(path, problems), *(data_files(label, problems) if label else [])]
        return Case(id=identity, patient=patient, image=path, label=label, extra=tuple(extra))


def _matches(root: Path, pattern: str) -> list[Path]:
    """Return the images that match `pattern`, sorted by id; none for an invalid pattern."""
    try:
        paths = [path for path in root.glob(pattern) if _is_image(path)]
    except (ValueError, IndexError):
        return []
    return sorted(paths, key=lambda path: (natural_key(case_id(path)), path.as_posix()))


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS) and not is_system_file(path) and path.is_file()


def _duplicates(paths: list[Path]) -> list[Problem]:
    counts = Counter(case_id(path) for path in paths)
    problems = []
    for identity in (identity for identity, count in counts.items() if count > 1):
        same = [str(path) for path in paths if case_id(path) == identity]
        what = f"one id, '{identity}', for several files, also {', '.join(same[1:])}. Keep one of them"
        problems.append(Problem(same[0], what))
    return problems
