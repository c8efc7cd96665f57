"""All six targets on data in their official layouts, by one command: slow, and nothing in it is a stand-in."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from sg_bench.ledger import Ledger
from sg_bench.workspace import Workspace
from tests.e2e.conftest import Run
from tests.fixtures.__main__ import make_all

pytestmark = pytest.mark.slow
TASKS = {"ncc", "ncs", "lcs", "bms", "dxc", "pxs"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, sg_bench: Run) -> Path:
    folder = tmp_path_factory.mktemp("targets")
    make_all(folder / "trees")
    places = ("--data-root", folder / "trees", "--work", folder / "work", "--out", folder / "out")
    # One method is enough for the way through; the budget's three take three times as long.
    tiny = ("--set", "budget=tiny", "--methods", "semantic_genesis", "--set", "fine_tuning.batch_size=2")
    done = sg_bench("run", "--suite", "targets", *tiny, *places)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "output.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def records(ran: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (ran / "work" / "cells").glob("*.json")]
    return {record["recipe"]["task"]["name"]: record for record in found}


def test_every_target_is_trained_scored_and_printed(ran: Path, records: dict[str, dict[str, Any]]) -> None:
    assert records.keys() == TASKS
    for record in records.values():
        assert record["status"] == "done"
        assert 0 <= record["metrics"][record["headline"]] <= 1
        assert record["skipped"] == 0
        assert Ledger(Workspace(ran / "work")).case_scores(record["key"])["patient"].notna().all()
    output = (ran / "output.txt").read_text()
    assert all(task in output for task in TASKS)
    assert "not one number here means anything" in output


def test_films_have_a_2d_network_and_volumes_a_3d_one(records: dict[str, dict[str, Any]]) -> None:
    dimensions = {task: each["recipe"]["initialisation"]["config"]["dimension"] for task, each in records.items()}
    assert dimensions == {**dict.fromkeys(TASKS, 3), "dxc": 2, "pxs": 2}


def test_the_splits_are_the_published_ones_and_written_out(ran: Path, records: dict[str, dict[str, Any]]) -> None:
    assert {task: records[task]["counts"]["test"] for task in ("ncc", "lcs")} == {"ncc": 3, "lcs": 2}
    splits = [list(csv.DictReader(path.open())) for path in (ran / "work" / "splits").glob("*.csv")]
    assert len(splits) == len(TASKS)
    for rows in splits:
        parts: dict[str, set[str]] = {}
        for row in rows:
            parts.setdefault(row["patient"], set()).add(row["part"])
        assert all(len(found) == 1 for found in parts.values())
    lits = next(rows for rows in splits if rows[0]["id"].startswith("volume-"))
    assert {row["id"] for row in lits if row["part"] == "test"} == {"volume-115", "volume-116"}


def test_fourteen_findings_have_an_auc_each(records: dict[str, dict[str, Any]]) -> None:
    metrics = records["dxc"]["metrics"]
    each = [value for name, value in metrics.items() if name.startswith("auc_")]
    assert len(each) == 14
    assert metrics["auc"] == pytest.approx(sum(each) / 14)


def test_every_score_is_computed_again_from_the_stored_predictions(ran: Path, sg_bench: Run) -> None:
    again = sg_bench("rescore", "--work", ran / "work")
    assert (again.returncode, "6 same" in again.stdout) == (0, True), again.stdout + again.stderr


def test_the_audit_names_what_pretraining_has_seen(ran: Path, sg_bench: Run) -> None:
    places = ("--data-root", ran / "trees", "--work", ran / "work", "--out", ran / "audit")
    tiny = ("--set", "budget=tiny", "--set", "fine_tuning.batch_size=2", "--methods", "semantic_genesis")
    audit = sg_bench("audit", "--suite", "targets", *tiny, *places)
    assert audit.returncode in (0, 4), audit.stdout + audit.stderr
    assert all(task in audit.stdout for task in TASKS)
