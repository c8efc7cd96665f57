"""What the runs of a workspace do now: jobs under way, the rate of finished cells, and the time left."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sg_bench.planning.plans import Job, Plan
from sg_bench.planning.runs import WorkspaceRun, is_alive, is_locked, read_runs
from sg_bench.workspace import Workspace, parsed_json

FRESH_SECONDS = 30.0
"""A job's progress that was written within so long shows that it runs, whatever the locks of the file system say."""


@dataclass(frozen=True)
class JobProgress:
    """How far a running job is, as its process wrote it."""

    done: int
    """Steps, or cases."""
    total: int | None
    """None where it is not known."""
    began: float
    """Seconds since 1970, as all times here."""
    at: float
    """When it was written."""

    @property
    def fraction(self) -> float:
        """Return the part that is done, below 1 as long as the job runs."""
        return min(self.done / self.total, 0.999) if self.total else 0.0


@dataclass(frozen=True)
class Activity:
    """What goes on in a workspace."""

    runs: tuple[WorkspaceRun, ...]
    """Those that are alive, of any suite."""
    jobs: tuple[tuple[Job, JobProgress | None], ...]
    """Of the plan, those that a process computes."""
    a_minute: float = 0.0
    """Cells of the plan that were finished in a minute, since the first of the runs began."""
    seconds_left: float | None = None
    """At that rate; None if nothing was finished yet, or nothing runs."""


def read_progress(workspace: Workspace, key: str) -> JobProgress | None:
    """Return how far the job `key` was when it last wrote; None if it did not, has ended, or the file is damaged."""
    try:
        return JobProgress(**parsed_json(workspace.path("progress", f"{key}.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def activity(plan: Plan, pending: Iterable[Job], workspace: Workspace) -> Activity:
    """Return what the runs of a workspace do, given the jobs of a plan that are not done."""
    waiting, now = list(pending), time.time()
    runs = tuple(run for run in read_runs(workspace) if is_alive(workspace, run))
    jobs = []
    for job in waiting:
        found = read_progress(workspace, job.key)
        fresh = found is not None and now - found.at < FRESH_SECONDS
        if fresh or (runs and is_locked(workspace, job.key)):
            jobs.append((job, found))
    cells = sum(job.kind == "cell" for job in waiting)
    rate = _rate(plan, workspace, min((run.began for run in runs), default=now), now)
    return Activity(runs, tuple(jobs), 60 * rate, cells / rate if rate else None)


def _rate(plan: Plan, workspace: Workspace, since: float, now: float) -> float:
    """Return how many cells of the plan were finished in a second since a time."""
    finished = 0
    for cell in plan.cells:
        try:
            finished += bool(cell.key) and workspace.path("cells", f"{cell.key}.json").stat().st_mtime >= since
        except OSError:
            continue
    return finished / (now - since) if now > since else 0.0
