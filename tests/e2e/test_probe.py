"""`sg-bench probe` from nothing to a table, and what reads its cells, which have no curves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Run


@pytest.mark.slow
def test_probes_run_once_and_every_command_reads_their_cells(tmp_path: Path, sg_bench: Run) -> None:
    where = ("--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out")
    done = sg_bench("probe", *where, "--methods", "scratch", "--jobs", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny_ncc[probe=knn]" in done.stdout
    assert "tiny_lcs[probe=linear]" in done.stdout
    features = list((tmp_path / "work" / "features").iterdir())
    assert len(features) == 2  # of one initialisation on two tasks
    again = sg_bench("probe", *where, "--methods", "scratch")
    assert "Nothing to compute" in again.stderr
    few = sg_bench("run", *where, "--methods", "scratch", "--tasks", "tiny_ncc[shots=1],tiny_ncc[probe=knn,shots=1]")
    assert few.returncode == 0, few.stdout + few.stderr
    assert set((tmp_path / "work" / "features").iterdir()) == set(features)
    records = [json.loads(path.read_text()) for path in (tmp_path / "work" / "cells").glob("*.json")]
    assert len(records) == 7
    assert all(record["status"] == "done" for record in records)
    key = next(record["key"] for record in records if record["recipe"]["task"].get("probe") == "knn")
    for command in (("explain", key[:16]), ("rescore",)):
        shown = sg_bench(*command, "--work", tmp_path / "work")
        assert shown.returncode == 0, shown.stdout + shown.stderr
    known = ("--suite", TINY, "--work", tmp_path / "work", "--methods", "scratch", "--tasks", "tiny_ncc[probe=knn]")
    assert sg_bench("status", *known, "--seeds", "0").returncode == 0
    report = sg_bench("report", *where)  # of the whole suite, which has not been run, and of what was added to it
    assert "tiny_ncc[probe=knn]" in report.stdout, report.stdout + report.stderr
