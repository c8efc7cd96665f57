"""The conformance kit for sources, which are checked on a copy of their data."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sg_bench.config import canonical_json, key_of
from sg_bench.data.sources.base import Case, Problem, Source, Study
from sg_bench.errors import DataError
from sg_bench.registry import SOURCES
from sg_bench.tasks import validated
from sg_bench.testing.checks import CheckRunner, ContractCheck, ContractResult, require
from sg_bench.testing.contract import refuse_heavy_imports

READ = 3
"""Number of cases that are read."""


@dataclass(frozen=True)
class SourceCopy:
    """A source with a copy of its data."""

    name: str
    root: Path | None = None
    """The copy; None for a source that needs none."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def config(self) -> Any:
        """Return the source's config."""
        return validated(SOURCES.config(self.name), dict(self.settings), f"config of source '{self.name}'")

    def open(self, root: Path | None = None) -> Source:
        """Return the source, opened on its copy or on another folder."""
        opened: Source = SOURCES.load(self.name)(self.config, root or self.root)
        return opened

    @property
    def needs_root(self) -> bool:
        """Return whether the source reads a folder."""
        return bool(SOURCES.load(self.name).needs_root)


def check_its_config_survives_json(copy: SourceCopy) -> None:
    """A config that is written to JSON and read again is the same and has the same key."""
    again = type(copy.config).model_validate(json.loads(json.dumps(copy.config.model_dump(mode="json"))))
    require(key_of(again) == key_of(copy.config), "a config changes its key when it is written to JSON and read again")


def check_it_needs_no_torch(copy: SourceCopy) -> None:
    """It can be scanned where torch, Ray, MONAI and TorchIO are absent, as planning does."""
    refuse_heavy_imports(SOURCES.entry(copy.name).config)
    refuse_heavy_imports(SOURCES.entry(copy.name).target)


def check_its_ids_are_unique_and_sorted(copy: SourceCopy) -> None:
    """Every scan lists the same cases, each once, with an id, a patient and a value for each finding."""
    cases = copy.open().scan()
    ids = [case.id for case in cases]
    twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
    require(not twice, f"{len(twice)} ids stand for several cases, such as '{(twice or [''])[0]}'")
    require(all(case.id and case.patient for case in cases), "a case has no id or no patient")
    require(cases == copy.open().scan(), "scanning twice gives two lists")
    findings = copy.open().findings
    for case in cases:
        complete = len(case.findings) in (0, len(findings))
        require(complete, f"{case.id} has {len(case.findings)} findings, and the source names {len(findings)}")


def check_its_scan_does_not_depend_on_directory_order(copy: SourceCopy) -> None:
    """The cases and the manifest do not depend on the order in which the file system lists a folder."""
    before = copy.open().manifest()
    for seed in range(3):
        with _shuffled_folders(seed):
            after = copy.open().manifest()
        require(after == before, "another order of the folder's entries gives other cases: sort what is found")


def check_its_manifest_is_json(copy: SourceCopy) -> None:
    """A manifest is JSON, always the same, and does not contain the path of the data."""
    source = copy.open()
    text = canonical_json(source.manifest())
    require(text == canonical_json(copy.open().manifest()), "two manifests of one copy differ")
    has_path = source.root is not None and str(source.root) in text
    require(not has_path, "the manifest holds the folder's own path: name files from the root")
    require(len(source.manifest()["cases"]) == len(source.scan()), "the manifest must have one entry for each case")


def check_its_cases_load(copy: SourceCopy) -> None:
    """A case is a finite float32 volume with an affine and a label of its shape, and always the same."""
    cases = copy.open().scan()
    for case in cases[:: max(1, len(cases) // READ)][:READ]:
        study, again = copy.open().load(case), copy.open().load(case)
        _require_study(case, study, copy.open().channels)
        require(np.array_equal(study.image, again.image), f"{case.id}: reading it twice gives two images")


def check_an_empty_folder_is_an_error(copy: SourceCopy) -> None:
    """For an empty folder `problems` has an error, and `scan` raises a DataError of one line with the next step."""
    with tempfile.TemporaryDirectory() as folder:
        empty = copy.open(Path(folder))
        found = _problems(empty)
        require(any(not problem.warning for problem in found), "problems() of an empty folder finds no error")
        try:
            empty.scan()
        except DataError as error:
            require(
                ". " in str(error) and "\n" not in str(error), f"scan() of an empty folder names no next step: {error}"
            )
            return
    require(False, "scan() of an empty folder raises no DataError")


def checks_of(copy: SourceCopy) -> Iterator[ContractCheck[SourceCopy]]:
    """Yield the checks that apply to a source."""
    yield ContractCheck(check_its_config_survives_json)
    yield ContractCheck(check_it_needs_no_torch)
    yield ContractCheck(check_its_ids_are_unique_and_sorted)
    yield ContractCheck(check_its_scan_does_not_depend_on_directory_order, after=("its_ids_are_unique_and_sorted",))
    yield ContractCheck(check_its_manifest_is_json, after=("its_ids_are_unique_and_sorted",))
    yield ContractCheck(check_its_cases_load, after=("its_ids_are_unique_and_sorted",))
    if copy.needs_root:
        yield ContractCheck(check_an_empty_folder_is_an_error)


def check_source(
    name: str,
    root: Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> list[ContractResult]:
    """Run all checks of a source and return their results.

    Args:
        name: of the source.
        root: a copy of its data, which may be small and synthetic; None for a source that needs none.
        settings: of the source.
        expected_failures: the reasons of known failures, by the check's name.

    Raises:
        UsageError: there is no such source, setting or check.
    """
    copy = SourceCopy(name, root, settings or {})
    return CheckRunner(copy, checks_of(copy), expected_failures).run_all()


def _problems(source: Source) -> list[Problem]:
    """Return a source's problems; a source may also raise that there are no data at all."""
    try:
        return source.problems()
    except DataError as error:
        return [Problem(str(source.root), str(error))]


def _require_study(case: Case, study: Study, channels: int) -> None:
    image, shape = study.image, study.image.shape
    require(
        image.dtype == np.float32 and image.ndim == (3 if channels == 1 else 4),
        f"{case.id}: its image is {image.dtype} {shape}, not {'(x, y, z)' if channels == 1 else '(channels, x, y, z)'}",
    )
    require(channels in (1, shape[0]), f"{case.id}: its image has {shape[0]} channels, its source names {channels}")
    require(bool(np.isfinite(image).all()), f"{case.id}: its image holds NaN or infinity")
    regular = study.affine.shape == (4, 4) and abs(np.linalg.det(study.affine[:3, :3])) > 0
    require(regular, f"{case.id}: its affine is no invertible 4x4 matrix")
    if study.label is not None:
        label = study.label
        fits = label.dtype == np.uint8 and label.shape == shape[-3:]
        require(fits, f"{case.id}: its label is {label.dtype} {label.shape}, its image {shape}; it must be uint8")


@contextmanager
def _shuffled_folders(seed: int) -> Iterator[None]:
    """Let this process list the entries of every folder in an order drawn from `seed`."""
    listdir, scandir = os.listdir, os.scandir
    os.listdir = _shuffled(listdir, seed)
    os.scandir = _shuffled_entries(scandir, seed)
    try:
        yield
    finally:
        os.listdir, os.scandir = listdir, scandir


def _shuffled(listed: Callable[..., Any], seed: int) -> Any:
    def shuffled(*arguments: Any) -> list[Any]:
        found = sorted(listed(*arguments))
        random.Random(seed).shuffle(found)
        return found

    return shuffled


class _Entries:
    """A closable iterator like that of `os.scandir`."""

    def __init__(self, entries: list[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self._entries

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *details: object) -> None:
        """Close nothing: the entries have been read."""

    def close(self) -> None:
        """Do nothing: the entries have been read."""


def _shuffled_entries(scanned: Callable[..., Any], seed: int) -> Any:
    def shuffled(*arguments: Any) -> _Entries:
        with scanned(*arguments) as entries:
            found = sorted(entries, key=lambda entry: os.fsdecode(entry.name))
        random.Random(seed).shuffle(found)
        return _Entries(found)

    return shuffled
