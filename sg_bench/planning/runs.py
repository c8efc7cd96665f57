"""Runs of a workspace: which are under way and what they use, and what was predicted of each and what it took.

A run writes `runs/<id>.json` when it begins, and holds the lock `run-<id>` as long as it lives.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from sg_bench.digests import read_sealed, write_sealed
from sg_bench.machine import available_cores, hardware
from sg_bench.planning.measurements import hardware_name
from sg_bench.planning.plans import Job, Plan
from sg_bench.planning.price import Machines, price
from sg_bench.planning.shown import shown_duration
from sg_bench.workspace import LockedElsewhere, Workspace
from sg_bench.workspace.locks import LEASES


@dataclass(frozen=True)
class Predicted:
    """What was predicted of one job."""

    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class WorkspaceRun:
    """One run of a workspace, as its file describes it."""

    id: str
    suite: str
    host: str
    pid: int
    began: float
    """Seconds since 1970."""
    processes: int
    keys: tuple[str, ...]
    """Of all results that the run computes or needs."""
    pending: int
    """Jobs that it had to compute."""
    hardware: str = ""
    wall_seconds: float | None = None
    """Predicted; None if some job had no price."""
    predicted: Mapping[str, Predicted] | None = None
    """By the keys of the jobs that have a price."""
    took: float | None = None
    """Wall seconds; None while it runs, and of one that was stopped."""


@contextmanager
def registered(
    plan: Plan,
    pending: Iterable[Job],
    workspace: Workspace,
    *,
    slots: int,
    log: Callable[[str], None],
    elsewhere: bool = False,
) -> Iterator[WorkspaceRun]:
    """Keep in the workspace that a run is under way in the block and what is predicted of it; log how near that was.

    Args:
        plan: of the run.
        pending: its jobs that are to be computed.
        workspace: of the results.
        slots: processes at once.
        log: prints one line.
        elsewhere: whether the jobs run on a cluster that was joined, of whose machines no wall time is predicted.
    """
    jobs = list(pending)
    run = _new_run(plan, jobs, workspace, slots, elsewhere=elsewhere)
    with workspace.lock(f"run-{run.id}"):
        _write(workspace, run)
        began = time.monotonic()
        yield run
    took = time.monotonic() - began
    finished = replace(run, took=round(took, 3))
    _write(workspace, finished)
    if line := _compared(finished):
        log(line)


def _new_run(plan: Plan, jobs: list[Job], workspace: Workspace, slots: int, *, elsewhere: bool) -> WorkspaceRun:
    name = hardware_name(hardware())
    found = price(plan, jobs, workspace, Machines(name, slots, available_cores()))
    predicted = {
        each.job.key: Predicted(round(each.seconds, 3), round(each.seconds * each.processor_share, 3))
        for each in found.jobs
    }
    return WorkspaceRun(
        id=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}",
        suite=plan.suite.name,
        host=socket.gethostname(),
        pid=os.getpid(),
        began=time.time(),
        processes=slots,
        keys=tuple(plan.jobs),
        pending=len(jobs),
        hardware=name,
        wall_seconds=None if found.unknown or elsewhere else round(found.seconds, 3),
        predicted=predicted,
    )


def read_runs(workspace: Workspace) -> list[WorkspaceRun]:
    """Return all runs that the workspace knows of, the oldest first; damaged files are passed over."""
    found = (_read(workspace, path.stem) for path in sorted(workspace.path("runs").glob("*.json")))
    return [run for run in found if run]


def is_alive(workspace: Workspace, run: WorkspaceRun) -> bool:
    """Return whether a run is under way: its process holds its lock."""
    return run.took is None and is_locked(workspace, f"run-{run.id}")


def is_locked(workspace: Workspace, name: str) -> bool:
    """Return whether a process holds a lock alone; nobody waits for the answer, and one never held is not taken."""
    if not any((workspace.root / folder / name).exists() for folder in ("locks", LEASES)):
        return False
    try:
        with workspace.lock(name, shared=True, wait=False):
            return False
    except LockedElsewhere:
        return True


def predicted_of(workspace: Workspace, hardware: Mapping[str, str]) -> dict[str, Predicted]:
    """Return what was predicted of jobs by the last run that was to compute them.

    Args:
        workspace: holds the files of the runs.
        hardware: by the keys of the jobs, what they were computed on; a prediction for another machine is left out.
    """
    found: dict[str, Predicted] = {}
    for run in read_runs(workspace):
        for key, predicted in (run.predicted or {}).items():
            if hardware.get(key) == run.hardware:
                found[key] = predicted
    return found


def _compared(run: WorkspaceRun) -> str:
    """Return one line on how near the prediction was; "" if there was none."""
    if not run.wall_seconds or run.took is None:
        return ""
    deviation = 100 * (run.took / run.wall_seconds - 1)
    return f"Predicted {shown_duration(run.wall_seconds)}, took {shown_duration(run.took)} ({deviation:+.0f} %)"


def _write(workspace: Workspace, run: WorkspaceRun) -> None:
    write_sealed(workspace.path("runs", f"{run.id}.json"), {"schema": 1, **asdict(run)})


def _read(workspace: Workspace, name: str) -> WorkspaceRun | None:
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        content: dict[str, Any] = read_sealed(workspace.path("runs", f"{name}.json"))
        if content.pop("schema") == 1:
            predicted = {key: Predicted(**each) for key, each in (content.pop("predicted") or {}).items()}
            return WorkspaceRun(**{**content, "keys": tuple(content["keys"])}, predicted=predicted)
    return None
