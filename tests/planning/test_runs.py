"""What the workspace keeps of runs: those under way, and what was predicted of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg_bench.machine import hardware
from sg_bench.planning import (
    Measurement,
    activity,
    cost_name,
    hardware_name,
    is_alive,
    keep_measurement,
    plan,
    predicted_of,
    read_runs,
    registered,
)
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace

CORPORA = {"3d": {"name": "phantom", "source": "phantom"}}
SUITE = Suite.model_validate(
    {"name": "small", "corpora": CORPORA, "methods": ["scratch"], "tasks": ["ncs[data=phantom]"]}
)


@pytest.mark.parametrize("locks", ["flock", "lease"])
def test_a_run_is_known_while_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str) -> None:
    monkeypatch.setenv("SG_BENCH_LOCKS", locks)
    workspace = Workspace(tmp_path)
    found = plan(SUITE, {}, workspace)
    with registered(found, found.pending(workspace), workspace, slots=2, log=print) as run:
        assert read_runs(workspace) == [run]
        assert is_alive(workspace, run)
        assert set(run.keys) == set(found.jobs)
    (after,) = read_runs(workspace)
    assert after.took is not None
    assert not is_alive(workspace, after)


@pytest.mark.parametrize("locks", ["flock", "lease"])
def test_jobs_under_way_are_told_by_their_locks_and_no_other_lock_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str
) -> None:
    monkeypatch.setenv("SG_BENCH_LOCKS", locks)
    workspace = Workspace(tmp_path)
    found = plan(SUITE, {}, workspace)
    pending = found.pending(workspace)
    with registered(found, pending, workspace, slots=2, log=print) as run, workspace.lock(pending[0].key):
        held = {pending[0].key, f"run-{run.id}"}
        now = activity(found, pending, workspace)
        assert (now.runs, now.jobs) == ((run,), ((pending[0], None),))
        assert {path.name for folder in ("locks", "leases") for path in tmp_path.glob(f"{folder}/*")} == held


def test_a_run_that_was_stopped_is_not_alive_and_took_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        registered(plan(SUITE, {}, workspace), [], workspace, slots=2, log=print),
    ):
        raise KeyboardInterrupt
    (run,) = read_runs(workspace)
    assert run.took is None
    assert not is_alive(workspace, run)


def test_the_prediction_is_kept_and_compared_at_the_end(tmp_path: Path) -> None:
    workspace, lines = Workspace(tmp_path), list[str]()
    found = plan(SUITE, {}, workspace)
    name = hardware_name(hardware())
    for job in found.jobs.values():
        rates = Measurement(job_seconds=1.0, processor_share=0.5)
        keep_measurement(workspace, name, cost_name(job.recipe), rates, job.title)
    with registered(found, found.pending(workspace), workspace, slots=1, log=lines.append) as run:
        assert run.wall_seconds == len(run.predicted or {}) > 2
    assert len(lines) == 1
    assert lines[0].startswith(f"Predicted {run.wall_seconds:.1f} s, took 0.0 s (-")
    assert predicted_of(workspace, dict.fromkeys(found.jobs, "another machine")) == {}
    predicted = predicted_of(workspace, dict.fromkeys(found.jobs, name))
    assert predicted.keys() == found.jobs.keys()
    assert {(each.seconds, each.processor_seconds) for each in predicted.values()} == {(1.0, 0.5)}


def test_damaged_files_of_runs_are_passed_over(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with registered(plan(SUITE, {}, workspace), [], workspace, slots=2, log=print):
        pass
    path = next(workspace.path("runs").iterdir())
    path.write_text(path.read_text().replace("small", "large"))
    path.with_name("other.json").write_text("[]")
    assert read_runs(workspace) == []


def test_no_wall_time_is_predicted_of_a_cluster_that_was_joined(tmp_path: Path) -> None:
    workspace, lines = Workspace(tmp_path), list[str]()
    with registered(plan(SUITE, {}, workspace), [], workspace, slots=2, log=lines.append, elsewhere=True) as run:
        assert run.wall_seconds is None
    assert lines == []
