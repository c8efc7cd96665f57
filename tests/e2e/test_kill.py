"""A run that was killed or interrupted at any moment resumes and ends with the same table."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import TINY, Run, alive, descendants, tables
from tests.e2e.faults import local_workers

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "while cases are prepared": lambda work: any(work.glob("stores/*.partial/*.npy")),
    "while something pretrains": lambda work: any(work.glob("initialisations/*/record.json")),
    "between discovery and pretraining": lambda work: any(work.glob("patterns/*/index.json")),
    "after the first cell": lambda work: any(work.glob("cells/*.json")),
    "after the fourth cell": lambda work: len(list(work.glob("cells/*.json"))) >= 4,
    "after the seventh cell": lambda work: len(list(work.glob("cells/*.json"))) >= 7,
}
SIGNALS = {"between discovery and pretraining": signal.SIGINT, "after the fourth cell": signal.SIGTERM}
"""Moments of MOMENTS at which the run is interrupted rather than killed."""


def wait_for(moment: Callable[[], bool], seconds: float) -> None:
    """Wait until `moment` is true."""
    end = time.monotonic() + seconds
    while not moment():
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.02)


def interrupt(pid: int, number: signal.Signals) -> None:
    """Send a signal as a terminal sends Ctrl-C: to all processes of the run; SIGTERM to the run alone."""
    for each in [*(descendants(pid) if number == signal.SIGINT else []), pid]:
        with suppress(ProcessLookupError):
            os.kill(each, number)


@pytest.mark.slow  # test_faults.py strikes a run at random moments in every `make test`
def test_a_run_killed_four_times_interrupted_and_terminated_ends_with_the_same_table_and_no_cell_twice(
    finished: Path, sg_bench: Run, start: Any, tmp_path: Path
) -> None:
    command = ("run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out", "--jobs", 2)
    for name, moment in MOMENTS.items():
        with start(*command) as process:
            wait_for(lambda: moment(tmp_path / "work") or process.poll() is not None, 120)  # noqa: B023
            workers = descendants(process.pid)
            if name in SIGNALS:
                interrupt(process.pid, SIGNALS[name])
            else:
                process.kill()
            output, _ = process.communicate(timeout=60)
        if name in SIGNALS:
            assert process.returncode == 128 + SIGNALS[name]
            assert output.endswith("\nInterrupted. Nothing finished is lost: the same command continues from here.\n")
            assert "Traceback" not in output
            assert "FAILED" not in output
        if name == "while something pretrains":
            assert workers
        wait_for(lambda: not any(alive(pid) for pid in workers), 20)  # noqa: B023
    done = sg_bench(*command)
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path) == tables(finished)
    cells = [path.name for path in (tmp_path / "work" / "cells").iterdir()]
    assert sorted(cells) == sorted(path.name for path in (finished / "work" / "cells").iterdir())
    assert not list((tmp_path / "work").rglob("*.partial"))


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_job_done_again(finished: Path, start: Any, tmp_path: Path) -> None:
    command = ("run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out", "--jobs", 2)
    with start(*command) as process:
        wait_for(lambda: MOMENTS["while something pretrains"](tmp_path / "work"), 120)
        os.kill(local_workers(process.pid)[-1], signal.SIGKILL)
        output, _ = process.communicate(timeout=180)
        assert process.returncode == 0, output
    assert tables(tmp_path) == tables(finished)


pytestmark = pytest.mark.xdist_group("e2e")
