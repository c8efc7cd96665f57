"""One command from nothing to the table."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Run, fingerprint, tables


def test_a_run_ends_with_the_table_and_where_the_results_lie(finished: Path) -> None:
    output = (finished / "output.txt").read_text()
    for method in ("scratch", "models_genesis", "semantic_genesis"):
        assert method in output
    assert f"Results: {finished / 'out' / 'tables' / 'main.md'}, and" in output
    assert "check deterministic: holds" in output


def test_every_planned_cell_is_in_the_report_and_its_record_says_all_that_a_reader_needs(finished: Path) -> None:
    records = [json.loads(path.read_text()) for path in (finished / "out" / "cells").glob("*.json")]
    assert len(records) == 3 * 2 * 2
    for record in records:
        assert record["status"] == "done"
        assert record["headline"] in record["metrics"]
        assert {"software", "hardware", "git", "threads", "wall_seconds", "peak_memory_mib"} <= record["ran"].keys()
        assert record["tables"]["cases"]["rows"] > 0
        assert record["tables"]["curves"]["rows"] > 0
        assert record["outputs"]["predictions"]
        assert record["recipe"]["initialisation"]["config"]["width"] == 4


def test_no_record_names_this_machine_or_its_folders(finished: Path) -> None:
    host = re.compile(rf"\b{re.escape(platform.node() or 'localhost')}\b")
    for path in (finished / "out").rglob("*"):
        assert not path.is_file() or str(finished).encode() not in path.read_bytes()
    for path in (finished / "out" / "cells").iterdir():
        assert platform.node() == "localhost" or not host.search(path.read_text(errors="ignore"))


def test_running_again_computes_nothing_says_so_and_changes_no_byte(finished: Path, sg_bench: Run) -> None:
    before = fingerprint(finished / "out"), fingerprint(finished / "work" / "cells")
    again = sg_bench("run", "--suite", TINY, "--work", finished / "work", "--out", finished / "out")
    assert again.returncode == 0
    assert "Nothing to compute" in again.stderr
    assert (fingerprint(finished / "out"), fingerprint(finished / "work" / "cells")) == before


@pytest.mark.slow
def test_one_process_gives_the_same_cells_as_two(finished: Path, sg_bench: Run, tmp_path: Path) -> None:
    done = sg_bench(
        *("run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out"),
        *("--jobs", 1, "--tasks", "tiny_ncc.yaml", "--methods", "semantic_genesis", "--seeds", "1"),
    )
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "out" / "cells").glob("*.json")
    here, there = (
        json.loads((folder / "cells" / path.name).read_text()) for folder in (tmp_path / "out", finished / "out")
    )
    for part in ("metrics", "tables", "outputs"):
        assert here[part] == there[part]


def test_status_counts_what_is_done_and_explains_what_is_not(finished: Path, sg_bench: Run) -> None:
    status = sg_bench("status", "--suite", TINY, "--work", finished / "work", "--seeds", "0-2", "--why")
    assert status.returncode == 1
    assert "2 done, 1 to compute" in status.stdout
    assert "fine_tuning_seed: " in status.stdout


@pytest.mark.slow  # tests/running/test_damage.py does the same for each kind of file, without a command
def test_damaged_weights_are_named_and_computed_again_and_the_table_is_the_same(
    finished: Path, sg_bench: Run, tmp_path: Path
) -> None:
    import shutil

    work = tmp_path / "work"
    shutil.copytree(finished / "work", work)
    for path in (work / "cells").iterdir():
        path.unlink()
    folders = [path for path in (work / "initialisations").iterdir() if path.is_dir()]
    damaged = next(f for f in folders if '"method": "models_genesis"' in (f / "record.json").read_text())
    weights = damaged / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = sg_bench("run", "--suite", TINY, "--work", work, "--out", tmp_path / "out", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "damage" in line)
    assert f"set aside as damaged/initialisations/{damaged.name}. It is computed again" in line
    assert "Traceback" not in done.stderr
    assert len((work / "damaged" / "initialisations" / damaged.name / weights.name).read_bytes()) == 1000
    assert tables(tmp_path) == tables(finished)


def test_checks_are_printed_by_every_run_and_made_again_only_where_they_have_not_passed(
    finished: Path, sg_bench: Run
) -> None:
    command = ("run", "--suite", TINY, "--work", finished / "work", "--out", finished / "out")
    remembered = finished / "out" / "checks.json"
    before = json.loads(remembered.read_text())
    kept = [{**each, "detail": "as kept"} for each in before["checks"]]
    remembered.write_text(json.dumps(before | {"checks": kept}))
    again = sg_bench(*command)
    assert "Nothing to compute" in again.stderr
    assert "check deterministic: holds (as kept)" in again.stdout
    remembered.write_text(json.dumps(before | {"checks": []}))
    assert "computed twice" in sg_bench(*command).stdout
    assert json.loads(remembered.read_text()) == before


pytestmark = pytest.mark.xdist_group("e2e")  # they share one finished run
