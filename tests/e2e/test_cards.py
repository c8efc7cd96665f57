"""The local backend on two GPUs that only the driver believes in: real processes, one group a card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, tables

ON_TWO_CARDS = """
import json, sys
from pathlib import Path
from sg_bench.running import driver, local, packing

driver.list_cards = lambda: [packing.Card(f"GPU-{number}", "T4", 15_360, 15_000) for number in range(2)]
local.measured_mib = lambda workspace, card, recipe: 5000.0
submit = local._Processes.submit

def noted(processes, unit, root):
    with Path(sys.argv[1]).open("a") as file:
        file.write(json.dumps([processes.visible, unit.job.kind]) + "\\n")
    return submit(processes, unit, root)

local._Processes.submit = noted
from sg_bench.cli import app
app(sys.argv[2:])
"""


@pytest.mark.cluster
def test_two_cards_are_both_used_and_change_no_number(finished: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    arguments = ("run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out", "--jobs", 3)
    command = [sys.executable, "-c", ON_TWO_CARDS, str(notes), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    used = {(visible, kind) for visible, kind in map(json.loads, notes.read_text().splitlines())}
    assert {visible for visible, kind in used if kind == "cell"} == {"GPU-0", "GPU-1"}
    assert {kind for visible, kind in used if visible == ""} >= {"store", "patterns"}
    assert {visible for visible, kind in used if kind in ("store", "patterns")} == {""}
    assert tables(tmp_path) == tables(finished)
