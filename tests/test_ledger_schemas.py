"""What an older sg-bench recorded still loads, and still makes a table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sg_bench.config import key_of
from sg_bench.ledger import MIGRATIONS, SCHEMA, Ledger, merge
from sg_bench.reporting.folders import read_evidence
from sg_bench.workspace import Workspace

HISTORIC = sorted((Path(__file__).parent / "historic_records").glob("schema_*.json"))
FINISHED = {"schema", "key", "status", "recipe", "metrics", "tables", "headline", "parity", "error"} | {
    "loaded",
    "counts",
    "ran",
    "outputs",
}


def stored(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def put_back(path: Path, work: Path) -> Ledger:
    """Return the ledger of a workspace that holds just this file."""
    cells = work / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, cells / f"{stored(path)['key']}.json")
    for table in path.parent.glob(f"{stored(path)['key']}.*.parquet"):
        shutil.copy(table, cells / table.name)
    return Ledger(Workspace(work))


def test_every_schema_has_a_finished_and_a_failed_record_here() -> None:
    names = {path.stem for path in HISTORIC}
    assert names == {f"schema_{number}_{end}" for number in range(SCHEMA + 1) for end in ("done", "failed")}
    assert set(MIGRATIONS) == set(range(SCHEMA))


@pytest.mark.parametrize("path", HISTORIC, ids=lambda path: path.stem)
class TestHistoric:
    def test_it_loads_in_todays_schema_with_its_numbers(self, path: Path, tmp_path: Path) -> None:
        before = stored(path)
        record = put_back(path, tmp_path).get(before["key"])
        assert record
        assert record["schema"] == SCHEMA
        for name in ("key", "status", "recipe", "metrics"):
            assert record.get(name) == before.get(name)
        if "cases" in before:
            ledger = put_back(path, tmp_path)
            assert ledger.tables(before["key"]).case_rows(before["key"]) == before["cases"]
            assert ledger.curves(before["key"]) == before["curves"]
        elif before["status"] == "done":
            ledger = put_back(path, tmp_path)
            assert len(ledger.case_scores(before["key"])) == before["tables"]["cases"]["rows"]
            assert [row["step"] for row in ledger.curves(before["key"])] == [5]

    def test_its_key_is_still_that_of_its_recipe(self, path: Path, tmp_path: Path) -> None:
        assert key_of(stored(path)["recipe"]) == stored(path)["key"]

    def test_it_has_all_that_a_record_of_today_has(self, path: Path, tmp_path: Path) -> None:
        record = put_back(path, tmp_path).get(stored(path)["key"]) or {}
        if record["status"] == "done":
            assert record.keys() >= FINISHED
        else:
            assert record["error"].keys() == {"kind", "type", "message", "traceback"}

    def test_the_report_reads_it(self, path: Path, tmp_path: Path) -> None:
        put_back(path, tmp_path)
        evidence = read_evidence(tmp_path)
        (cell,) = evidence.cells
        assert cell.method == "semantic_genesis"
        if stored(path)["status"] == "done":
            assert evidence.headline(cell.task) in stored(path)["metrics"]

    def test_merging_writes_it_in_todays_schema(self, path: Path, tmp_path: Path) -> None:
        put_back(path, tmp_path / "old")
        merged = merge([tmp_path / "old"], Workspace(tmp_path / "new"))
        assert (merged.added, merged.damaged) == (1, [])
        (written,) = (tmp_path / "new" / "cells").glob("*.json")
        assert stored(written)["schema"] == SCHEMA


def test_schema_0_learns_its_metrics_from_its_task_and_its_time_from_its_seconds(tmp_path: Path) -> None:
    path = HISTORIC[0]
    record = put_back(path, tmp_path).get(stored(path)["key"]) or {}
    assert (record["headline"], record["parity"]) == ("iou_bin", "mean_iou_keras")
    assert record["ran"] == {"wall_seconds": stored(path)["seconds"]}


def test_a_failure_of_schema_0_is_computed_again_since_nobody_knows_whose_it_was(tmp_path: Path) -> None:
    path = HISTORIC[1]
    record = put_back(path, tmp_path).get(stored(path)["key"]) or {}
    assert record["error"]["kind"] == "infrastructure"
    assert record["error"]["message"] == "MethodError: the loss is nan at step 7"
