"""`run --json`: a program can follow a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Run

pytestmark = pytest.mark.slow


def test_every_line_is_an_event_and_the_last_one_counts(sg_bench: Run, tmp_path: Path) -> None:
    chosen = ("--tasks", "tiny_ncc.yaml", "--methods", "scratch", "--seeds", "0", "--jobs", 1)
    command = ("run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out", *chosen, "--json")
    done = sg_bench(*command)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in (events[0], events[-1])] == ["begin", "end"]
    finished = [event for event in events if event["event"] == "finished"]
    assert len(finished) == sum(events[0]["jobs"].values())
    assert {event["status"] for event in finished} == {"done"}
    assert events[-1]["cells"] == {"done": 1, "failed": 0, "to_compute": 0, "missing": 0}
    assert events[-1]["exit_code"] == 0
    assert "scratch" in done.stderr  # the table, for people
    again = sg_bench(*command)
    assert [json.loads(line)["event"] for line in again.stdout.splitlines()] == ["end"]
