"""The kit for sources: what a reader of a data set promises, checked on a copy of it that its author has."""

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
"""Cases that are read."""


@dataclass(frozen=True)
class Copy:
    """One source on one copy of its data."""

    name: str
    root: Path | None = None
    """The copy; None for a source that needs none."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def config(self) -> Any:
        """Return the source's config."""
        return validated(SOURCES.config(self.name), dict(self.settings), f"config of source '{self.name}'")

    def open(self, root: Path | None = None) -> Source:
        """Return the source on its copy, or on another folder."""
        opened: Source = SOURCES.load(self.name)(self.config, root or self.root)
        return opened

    @property
    def needs_root(self) -> bool:
        """Return whether the source reads a folder."""
        return bool(SOURCES.load(self.name).needs_root)


def check_its_config_survives_json(copy: Copy) -> None:
    """Written to JSON and read again, a config is the same and has the same key."""
    again = type(copy.config).model_validate(json.loads(json.dumps(copy.config.model_dump(mode="json"))))
    require(key_of(again) == key_of(copy.config), "a config changes its key when it is written to JSON and read again")


def check_it_needs_no_torch(copy: Copy) -> None:
    """Planning scans it where torch, Ray, MONAI and TorchIO are absent."""
    refuse_heavy_imports(SOURCES.entry(copy.name).config)
    refuse_heavy_imports(SOURCES.entry(copy.name).target)


def check_its_ids_are_unique_and_sorted(copy: Copy) -> None:
    """Scanning lists every case once, twice the same, and each has an id, a patient and a value a finding."""
    cases = copy.open().scan()
    ids = [case.id for case in cases]
    twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
    require(not twice, f"{len(twice)} ids stand for several cases, such as '{(twice or [''])[0]}'")
    require(all(case.id and case.patient for case in cases), "a case has no id or no patient")
    require(cases == copy.open().scan(), "scanning twice gives two lists")
    findings = copy.open().findings
    for case in cases:
        told = len(case.findings) in (0, len(findings))
        require(told, f"{case.id} has {len(case.findings)} findings, and the source names {len(findings)}")


def check_its_scan_does_not_depend_on_directory_order(copy: Copy) -> None:
    """However the file system orders a folder's entries, the cases and the manifest are the same."""
    before = copy.open().manifest()
    for seed in range(3):
        with _shuffled_folders(seed):
            after = copy.open().manifest()
        require(after == before, "another order of the folder's entries gives other cases: sort what is found")


def check_its_manifest_is_json(copy: Copy) -> None:
    """A manifest is JSON, the same at every time, and does not tell where the data lie."""
    source = copy.open()
    text = canonical_json(source.manifest())
    require(text == canonical_json(copy.open().manifest()), "two manifests of one copy differ")
    told = source.root is not None and str(source.root) in text
    require(not told, "the manifest holds the folder's own path: name files from the root")
    require(len(source.manifest()["cases"]) == len(source.scan()), "the manifest has not one entry a case")


def check_its_cases_load(copy: Copy) -> None:
    """A case is a finite float32 volume with its affine, a label of its shape, and the same at every reading."""
    cases = copy.open().scan()
    for case in cases[:: max(1, len(cases) // READ)][:READ]:
        study, again = copy.open().load(case), copy.open().load(case)
        _require_study(case, study)
        require(np.array_equal(study.image, again.image), f"{case.id}: reading it twice gives two images")


def check_an_empty_folder_is_an_error(copy: Copy) -> None:
    """In a folder without any of its files, `problems` says so, and `scan` refuses in one line that says what to do."""
    with tempfile.TemporaryDirectory() as folder:
        empty = copy.open(Path(folder))
        found = _problems(empty)
        require(any(not problem.warning for problem in found), "problems() of an empty folder finds no error")
        try:
            empty.scan()
        except DataError as error:
            require(
                ". " in str(error) and "\n" not in str(error), f"scan() of an empty folder says no next step: {error}"
            )
            return
    require(False, "scan() of an empty folder raises no DataError")


def checks_of(copy: Copy) -> Iterator[ContractCheck[Copy]]:
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
    """Return what becomes of every check of a source.

    Args:
        name: of the source.
        root: a copy of its data, or a small made one in the official layout; None where the source needs none.
        settings: of the source.
        expected_failures: why a check is known to fail, by its name.

    Raises:
        UsageError: no such source, setting or check.
    """
    copy = Copy(name, root, settings or {})
    return CheckRunner(copy, checks_of(copy), expected_failures).run_all()


def _problems(source: Source) -> list[Problem]:
    """Return a source's problems; finding no data at all may also be raised."""
    try:
        return source.problems()
    except DataError as error:
        return [Problem(str(source.root), str(error))]


def _require_study(case: Case, study: Study) -> None:
    image, shape = study.image, study.image.shape
    require(
        image.dtype == np.float32 and image.ndim == 3, f"{case.id}: its image is {image.dtype} {shape}, not (x, y, z)"
    )
    require(bool(np.isfinite(image).all()), f"{case.id}: its image holds NaN or infinity")
    regular = study.affine.shape == (4, 4) and abs(np.linalg.det(study.affine[:3, :3])) > 0
    require(regular, f"{case.id}: its affine is no invertible 4x4 matrix")
    if study.label is not None:
        label = study.label
        fits = label.dtype == np.uint8 and label.shape == shape
        require(fits, f"{case.id}: its label is {label.dtype} {label.shape}, its image {shape}; it must be uint8")


@contextmanager
def _shuffled_folders(seed: int) -> Iterator[None]:
    """Let this process see the entries of every folder in an order drawn from `seed`."""
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
    """What `os.scandir` returns: an iterator that closes."""

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
        """Do nothing, likewise."""


def _shuffled_entries(scanned: Callable[..., Any], seed: int) -> Any:
    def shuffled(*arguments: Any) -> _Entries:
        with scanned(*arguments) as entries:
            found = sorted(entries, key=lambda entry: os.fsdecode(entry.name))
        random.Random(seed).shuffle(found)
        return _Entries(found)

    return shuffled
