"""Cells on a real Ray Tune, which is started once for all of this."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from sg_bench.planning import Job
from sg_bench.running.cluster import cells
from sg_bench.running.cluster.backend import RayBackend
from sg_bench.running.environment import single_threaded
from sg_bench.running.failures import Failure
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import ScheduleOutcome, Scheduler
from sg_bench.workspace import Workspace
from tests.recipes import fake_job


def run(jobs: list[Job], backend: RayBackend, lines: list[str] | None = None) -> ScheduleOutcome:
    lines = [] if lines is None else lines
    with Progress(jobs, backend.workspace, lines.append, terminal=False) as progress:
        return Scheduler(jobs, backend, backend.workspace, progress).run()


@pytest.mark.cluster
def test_cells_run_as_trials_that_are_fed_retried_and_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, names = str(tmp_path), list(single_threaded())
    backend = RayBackend(Workspace(tmp_path), "local", 2)
    experiments: list[str] = []
    new_name = backend.cells.new_name

    def noted(what: str) -> str:
        experiments.append(what)
        return new_name(what)

    monkeypatch.setattr(backend.cells, "new_name", noted)
    try:
        # Pickled by value, since it is no function of a module: it runs in place of a fine-tuning.
        def trial(config: dict[str, Any]) -> None:
            key, count = cells.decoded(config["job"]).key, Path(folder, "tries")
            with count.open("a") as file:
                file.write(f"{key} {os.getpid()}\n")
            tries = [line for line in count.read_text().splitlines() if line.startswith(f"{key} ")]
            if key == "killed" and len(tries) == 1:
                os._exit(1)
            if key == "raises":
                raise ValueError("a bug of ours, not of the method")
            if key == "environment":
                found = str({name: os.environ.get(name) for name in names})
                tune.report({cells.FAILURE: json.dumps(asdict(Failure("method", "", found, "")))})
            else:
                tune.report({cells.FAILURE: ""})

        monkeypatch.setattr(cells, "fine_tune_trial", trial)
        monkeypatch.setattr(cells, "TRIALS", 12)
        calm = [fake_job("cell", f"calm{number}") for number in range(20)]
        first = fake_job("initialisation", "first")
        late = fake_job("cell", "late", "first")
        lines: list[str] = []
        found = run(
            [*calm, first, late, *(fake_job("cell", name) for name in ("killed", "raises", "environment"))],
            backend,
            lines,
        )
        assert found.done == {*(job.key for job in calm), "first", "late", "killed"}
        assert found.failures["environment"].message == str(single_threaded())
        assert found.failures["raises"].message.splitlines() == ["ValueError: a bug of ours, not of the method"]
        assert any("title of killed, attempt 2 of 3" in line for line in lines)
        tries = [line.split() for line in Path(folder, "tries").read_text().splitlines()]
        keys = [key for key, _ in tries]
        assert all(keys.count(job.key) == 1 for job in calm)
        assert len({pid for _, pid in tries}) < 12  # workers are used again
        assert len(experiments) >= 2  # and replaced after some trials
    finally:
        backend.close()
    assert not [thread for thread in threading.enumerate() if "_run" in str(getattr(thread, "_target", ""))]
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    assert "Trial" not in output.out + output.err
