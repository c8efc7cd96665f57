"""The kit for sources: every built-in one passes on a made tree; broken ones fail the check of what they break."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.data.sources.base import Case, Problem, Source, Study
from sg_bench.data.sources.folder import FolderSource
from sg_bench.errors import DataError
from sg_bench.registry import SOURCES, Entry
from sg_bench.testing import check_source
from tests.fixtures import write_nifti
from tests.fixtures.brats2018 import make_brats2018
from tests.fixtures.chestxray14 import make_chestxray14
from tests.fixtures.lidc_idri import make_lidc_idri
from tests.fixtures.lits import make_lits
from tests.fixtures.luna16 import make_luna16
from tests.fixtures.siim_acr import make_siim_acr

TREES: dict[str, Callable[[Path], Any]] = {
    "brats2018": make_brats2018,
    "chestxray14": make_chestxray14,
    "lidc_idri": lambda root: make_lidc_idri(root, patients=2),
    "lits": make_lits,
    "luna16": make_luna16,
    "siim_acr": make_siim_acr,
}


def make_folder(root: Path) -> Path:
    draw = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        write_nifti(root / f"images/{name}.nii.gz", draw.integers(0, 9, (6, 5, 4)).astype(np.int16), np.eye(4))
    return root


@pytest.mark.parametrize("name", TREES)
def test_every_built_in_source_keeps_the_contract_on_its_official_layout(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    results = check_source(name, tmp_path)
    assert [result for result in results if result.status != "ok"] == []


def test_the_folder_and_the_phantom_keep_the_contract(tmp_path: Path) -> None:
    results = check_source("folder", make_folder(tmp_path)) + check_source("phantom", settings={"patients": 2})
    assert [result for result in results if result.status != "ok"] == []


class Unsorted(FolderSource):
    def scan(self) -> list[Case]:
        found = {case.image: case for case in super().scan()}
        assert self.root
        names = os.listdir(self.root / "images")  # noqa: PTH208 - in whatever order it has
        return [found[self.root / "images" / name] for name in names]


class Doubled(FolderSource):
    def scan(self) -> list[Case]:
        return [case for case in super().scan() for _ in range(2)]


class Telling(FolderSource):
    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        return {"cases": [{"id": case.id, "path": str(case.image)} for case in self.scan()], "tables": []}


class Whole(FolderSource):
    def load(self, case: Case) -> Study:
        study = super().load(case)
        return Study(study.image.astype(np.int16), study.affine)


class Trusting(Source):
    def scan(self) -> list[Case]:
        return [Case("a", "a")]

    def problems(self) -> list[Problem]:
        return []

    def load(self, case: Case) -> Study:
        return Study(np.zeros((2, 2, 2), np.float32), np.eye(4))


class Careless(FolderSource):
    def problems(self) -> list[Problem]:
        return [Problem("images", "is empty")]

    def scan(self) -> list[Case]:
        try:
            return super().scan()
        except DataError as error:
            raise FileNotFoundError("images") from error


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Unsorted, "its_scan_does_not_depend_on_directory_order"),
        (Doubled, "its_ids_are_unique_and_sorted"),
        (Telling, "its_manifest_is_json"),
        (Whole, "its_cases_load"),
        (Trusting, "an_empty_folder_is_an_error"),
        (Careless, "an_empty_folder_is_an_error"),
    ],
)
def test_a_broken_promise_is_found_by_the_check_that_is_meant_to(
    kind: type[Source], check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("sg_bench.data.sources.folder:FolderConfig", f"{__name__}:{kind.__name__}", "broken")
    monkeypatch.setitem(SOURCES._entries, "broken", entry)
    monkeypatch.setitem(SOURCES._owners, "broken", "this test")
    monkeypatch.setattr(SOURCES, "load", lambda name: kind)
    results = check_source("broken", make_folder(tmp_path))
    heavy = "it_needs_no_torch"  # which this file of tests is not, and no source's module either
    failed = [result for result in results if result.status == "failed" and result.check != heavy]
    assert [result.check for result in failed] == [check], failed
