"""Data sets are found by name, with the settings of their first user."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg_bench.data.catalogue import DataSetUse, data_set_uses, find_data_set, folder_layout, inspect_source, known_names
from sg_bench.data.sources.folder import FolderConfig, FolderSource
from sg_bench.errors import DataError, UsageError
from sg_bench.registry import SOURCES
from sg_bench.resources import task_cards


@pytest.fixture(scope="module")
def uses() -> list[DataSetUse]:
    return data_set_uses()


def test_every_built_in_task_is_a_user_of_its_data(uses: list[DataSetUse]) -> None:
    assert {use.task.partition("[")[0] for use in uses if use.task} == set(task_cards())
    assert all(use.source in SOURCES.names() for use in uses)
    assert any("corpus of suite demo" in use.who for use in uses)


def test_a_name_brings_the_settings_and_the_preparation_of_its_first_user(uses: list[DataSetUse]) -> None:
    chosen = find_data_set("phantom-labelled")
    (first, *_) = [use for use in uses if use.name == "phantom-labelled"]
    assert (chosen.source, chosen.preparation) == ("phantom", first.preparation)
    assert chosen.config.labelled
    assert not find_data_set("phantom-labelled", {"labelled": False}).config.labelled


def test_a_source_that_nobody_uses_comes_with_its_own_defaults() -> None:
    chosen = find_data_set("folder", {"images": "scans/*"})
    assert chosen.config == FolderConfig(images="scans/*")
    assert chosen.preparation is None


@pytest.mark.parametrize(("name", "settings"), [("phantm", {}), ("folder", {"imges": "x"})])
def test_a_misspelt_name_or_setting_is_refused_with_the_nearest(name: str, settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"Did you mean '(phantom|images)'"):
        find_data_set(name, settings)


@pytest.mark.parametrize("source", ["luna16", "lits", "brats2018", "lidc_idri", "chestxray14", "siim_acr"])
def test_every_public_data_set_describes_its_layout_in_one_line(source: str) -> None:
    assert 60 < len(folder_layout(source)) < 700
    assert "\n" not in folder_layout(source)


def test_names_of_data_are_unique(uses: list[DataSetUse]) -> None:
    assert known_names(uses) == sorted({use.name for use in uses})


def test_looking_finds_cases_or_errors_and_never_neither(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    found = inspect_source(FolderSource(FolderConfig(), tmp_path))
    assert (found.cases, len(found.errors), found.warnings) == ([], 1, [])
    (tmp_path / "images/a.nii").touch()
    found = inspect_source(FolderSource(FolderConfig(), tmp_path))
    assert (len(found.cases), found.errors) == (1, [])
    assert found.summary() == "1 cases of 1 patients"


def test_opening_needs_a_folder_that_is_there(tmp_path: Path) -> None:
    folder = find_data_set("folder")
    with pytest.raises(DataError, match=r"gone: no such folder\. Correct the path"):
        folder.open(tmp_path / "gone")
    with pytest.raises(UsageError, match="'folder' is read from a folder, and none is given"):
        folder.open(None)
    assert folder.open(tmp_path).root == tmp_path.resolve()
