"""A store is built of what can be used, says what it does without, and takes that in when it can be used after all."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import nibabel as nib
import numpy as np
import pytest
import yaml

from sg_bench.cli.run import _left_out as left_out
from sg_bench.data.sources.base import Case
from sg_bench.data.sources.folder import FolderConfig, FolderSource
from sg_bench.data.store import Store, skip_case
from sg_bench.errors import DataError, UsageError
from sg_bench.planning import plan
from sg_bench.running.stores import prepare_store, read_cases, store_jobs
from sg_bench.suite import load_suite
from sg_bench.workspace import Workspace

CARD: dict[str, Any] = {
    "name": "scans",
    "title": "Scans",
    "kind": "segmentation",
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
    "data": {"name": "scans", "source": "folder", "config": {"labels": "labels/{id}.nii"}},
    "preparation": {"intensity": "minmax"},
    "sampling": {"places": "foreground", "patch": [16, 16, 8]},
}
SUITE = {"corpora": {"3d": {"name": "phantom", "source": "phantom"}}, "methods": ["scratch"], "tasks": ["card.yaml"]}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return a folder of five labelled images, beside a suite that uses them."""
    for name, content in (("card.yaml", CARD), ("mine.yaml", SUITE)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    draw = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "scans" / folder).mkdir(parents=True)
        for number in range(5):
            image = nib.Nifti1Image(draw.integers(0, 2, (9, 8, 7), dtype=np.uint8), np.eye(4))
            nib.save(image, tmp_path / f"scans/{folder}/{number}.nii")
    return tmp_path / "scans"


def harm(scans: Path, *ids: str) -> None:
    for id_ in ids:
        path = scans / f"images/{id_}.nii"
        path.write_bytes(bytes(path.stat().st_size))


def silent(line: str) -> None:
    """Say nothing."""


def test_a_damaged_case_is_left_out_with_its_reason_and_the_others_are_prepared(scans: Path, tmp_path: Path) -> None:
    harm(scans, "1")
    (job,) = store_jobs("scans", scans, str(tmp_path / "mine.yaml"))
    done = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent)
    assert (done.cases, done.new, done.failure) == (4, 4, None)
    store = Store.open(done.path)
    assert store.ids == ["0", "2", "3", "4"]
    assert [skipped.id for skipped in store.skipped] == ["1"]
    assert store.skipped[0].why.startswith("images/1.nii: it cannot be read as NIfTI")
    assert str(tmp_path) not in (done.path / "index.json").read_text()


def test_what_was_left_out_is_tried_again_and_nothing_else(scans: Path, tmp_path: Path) -> None:
    whole = (scans / "images/1.nii").read_bytes()
    harm(scans, "1", "3")
    (job,) = store_jobs("scans", scans, str(tmp_path / "mine.yaml"))
    first = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent)
    before = {path.name: path.stat().st_mtime_ns for path in first.path.glob("*.npy")}
    again = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent)
    assert (again.cases, again.new, len(again.skipped)) == (3, 0, 2)
    (scans / "images/1.nii").write_bytes(whole)
    mended = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent)
    assert (mended.cases, mended.new, [skipped.id for skipped in mended.skipped]) == (4, 1, ["3"])
    assert Store.open(mended.path).image("1").shape == (9, 8, 7)
    after = {path.name: path.stat().st_mtime_ns for path in first.path.glob("*.npy")}
    assert {name: after[name] for name in before} == before


def test_a_whole_store_is_left_alone(scans: Path, tmp_path: Path) -> None:
    (job,) = store_jobs("scans", scans, str(tmp_path / "mine.yaml"))
    first = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent)
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    second = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent)
    assert (second.cases, second.new, second.seconds) == (5, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in first.path.iterdir()} == before


def test_a_store_of_which_nothing_is_left_fails_with_the_first_reason(scans: Path, tmp_path: Path) -> None:
    harm(scans, *"01234")
    (job,) = store_jobs("scans", scans, str(tmp_path / "mine.yaml"))
    failure = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent).failure
    assert failure is not None
    assert failure.kind == "data"
    assert "none of 5 cases can be used, first 0: images/0.nii: it cannot be read" in failure.message
    assert not list((tmp_path / "work").glob("stores/*/index.json"))


def test_what_was_skipped_before_a_kill_is_tried_again_after_it(scans: Path, tmp_path: Path) -> None:
    """Here the kill came after one case was noted and none was done."""
    (job,) = store_jobs("scans", scans, str(tmp_path / "mine.yaml"))
    partial = Workspace(tmp_path / "work").partial("stores", job.key)
    skip_case(partial, Case("2", "2"), "it was damaged then")
    done = prepare_store(job, Workspace(tmp_path / "work"), jobs=1, log=silent)
    assert (done.cases, done.skipped) == (5, [])
    assert json.loads((done.path / "index.json").read_text())["skipped"] == []


def test_reading_reports_each_damaged_case_and_goes_on(scans: Path) -> None:
    harm(scans, "1", "4")
    source = FolderSource(FolderConfig(labels="labels/{id}.nii"), scans)
    for jobs in (1, 2):
        problems = read_cases(source, source.scan(), jobs=jobs, log=silent).problems
        assert [problem.where for problem in problems] == ["1", "4"]
        assert "cannot be read as NIfTI" in problems[0].what


def test_reading_names_what_is_doubtful_about_usable_cases(scans: Path) -> None:
    image = nib.Nifti1Image.from_filename(scans / "images/2.nii")
    image.header.set_qform(np.diag([3.0, 1, 1, 1]), code=1)
    image.header.set_sform(np.eye(4), code=1)
    nib.save(nib.Nifti1Image(np.array(image.dataobj), None, image.header), scans / "images/2.nii")
    source = FolderSource(FolderConfig(labels="labels/{id}.nii"), scans)
    read = read_cases(source, source.scan(), jobs=1, log=silent)
    assert read.problems == []
    assert [(note.where, note.warning) for note in read.notes] == [("2", True)]
    assert "2.nii: its qform and its sform place voxels up to 16 voxels" in read.notes[0].what


def test_a_run_names_a_label_without_an_image_and_counts_as_incomplete(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sg_bench")
    shutil.copy(scans / "labels/3.nii", scans / "labels/9.nii")
    planned = plan(load_suite(str(tmp_path / "mine.yaml")), {"scans": scans})
    selection = SimpleNamespace(
        plan=planned, workspace=Workspace(tmp_path / "work"), suite=planned.suite, roots={"scans": scans}
    )
    assert left_out(cast(Any, selection))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("scans: ")]
    assert "scans: left out: labels/9.nii: it is a label without an image" in line
    assert f"sg-bench data check {tmp_path}/card.yaml --data scans={scans}" in line
    card = {**CARD, "data": {"name": "scans", "source": "folder"}}
    card["data"]["config"] = {"labels": "labels/{id}.nii", "declared_missing": ["9"]}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
    selection.plan = plan(load_suite(str(tmp_path / "mine.yaml")), {"scans": scans})
    assert not left_out(cast(Any, selection))


def test_one_data_set_has_a_store_for_each_preparation_that_a_task_asks_for() -> None:
    keys = {job.key for job in store_jobs("phantom", None)}
    recipes = [job.recipe for job in store_jobs("phantom", None)]
    assert len(keys) == len(recipes) > 1
    assert {recipe.source for recipe in recipes} == {"phantom"}


def test_names_that_nothing_uses_are_refused(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no built-in task uses data 'folder'\. Name a suite"):
        store_jobs("folder", scans)
    with pytest.raises(UsageError, match=r"it uses no data 'scan'\. Did you mean 'scans'"):
        store_jobs("scan", scans, str(tmp_path / "mine.yaml"))
    with pytest.raises(DataError, match=r"no \.nii\.gz, \.nii, \.mhd, \.mha, .* file matches"):
        store_jobs("scans", tmp_path, str(tmp_path / "mine.yaml"))
