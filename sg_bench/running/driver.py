"""`run`: compute what a plan asks for and the workspace lacks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sg_bench.ledger import Ledger
from sg_bench.planning import Job, Plan
from sg_bench.running.local import InProcess, WorkerProcesses
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Scheduler
from sg_bench.workspace import Workspace, write_atomic


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    computed: int
    """Jobs that were run to their end, cells and others."""
    failures: tuple[str, ...]
    """One line for each job that failed by itself."""


def run(
    plan: Plan,
    workspace: Workspace,
    *,
    backend: Literal["local", "ray"] | None = None,
    jobs: int | None = None,
    ray_address: str = "local",
    retry_failed: bool = False,
    log: Callable[[str], None] = print,
    terminal: bool = False,
) -> Summary:
    """Compute all missing cells of `plan`, and what they need.

    Args:
        plan: from `planning.plan`.
        workspace: where results are, and go.
        backend: None takes the suite's.
        jobs: processes at once; None takes the machine's cores.
        ray_address: for the ray backend.
        retry_failed: also compute cells again that failed by their method's own doing.
        log: prints one line of progress.
        terminal: draw a live view instead of plain lines.

    Raises:
        SgBenchError: the backend cannot be started.
    """
    pending = plan.pending(workspace, retry_failed=retry_failed)
    if not pending:
        return Summary(0, ())
    for digest, ids in plan.lists.items():
        write_atomic(workspace.path("lists", f"{digest}.txt"), "".join(f"{each}\n" for each in ids))
    jobs = jobs or available_cores()
    with Progress(pending, workspace, log, terminal=terminal) as progress:
        if (backend or plan.suite.backend) == "ray":
            failures, done = _on_ray(pending, workspace, progress, ray_address, jobs)
        else:
            failures, done = _locally(pending, workspace, progress, jobs)
    return Summary(done, failures)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _locally(pending: list[Job], workspace: Workspace, progress: Progress, jobs: int) -> tuple[tuple[str, ...], int]:
    backend = InProcess(workspace) if jobs == 1 else WorkerProcesses(workspace, jobs)
    try:
        outcome = Scheduler(pending, backend, workspace, progress).run()
    finally:
        backend.close()
    return _told(outcome.failures), len(outcome.done)


def _on_ray(
    pending: list[Job], workspace: Workspace, progress: Progress, address: str, jobs: int
) -> tuple[tuple[str, ...], int]:
    """Build what cells need through the scheduler, then hand all cells that can run to Tune."""
    from sg_bench.running.on_ray import RayBackend

    backend = RayBackend(workspace, address, jobs)
    try:
        scheduler = Scheduler(pending, backend, workspace, progress, hold_cells=True)
        outcome = scheduler.run()
        if scheduler.held:
            backend.fine_tune(scheduler.held, progress)
    finally:
        backend.close()
    ledger = Ledger(workspace)
    records = {job.key: ledger.get(job.key) for job in scheduler.held}
    failed = {key: record["error"] for key, record in records.items() if record and record["status"] == "failed"}
    done = len(outcome.done) + len(records) - len(failed)
    return (*_told(outcome.failures), *sorted({error["message"] for error in failed.values()})), done


def _told(failures: dict[str, Any]) -> tuple[str, ...]:
    """Return each message once: what stands on a failed job fails with the same."""
    return tuple(dict.fromkeys(failure.message for failure in failures.values()))
