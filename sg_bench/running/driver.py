"""`run`: compute the cells of a plan that the workspace lacks, and what they need."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sg_bench.ledger import Ledger
from sg_bench.planning import Job, Plan
from sg_bench.running.local import InProcess, WorkerProcesses
from sg_bench.running.packing import list_cards
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Scheduler
from sg_bench.workspace import Workspace, write_atomic


@dataclass(frozen=True)
class RunSummary:
    """The result of a run."""

    computed: int
    """Number of jobs that were done, cells and others."""
    failures: tuple[str, ...]
    """One message for each job that failed, without those that failed because they needed it."""


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
) -> RunSummary:
    """Compute all missing cells of `plan`, and what they need.

    Args:
        plan: from `planning.plan`.
        workspace: holds earlier results, and gets the new ones.
        backend: None takes the suite's.
        jobs: processes at once; None takes the machine's cores.
        ray_address: for the ray backend.
        retry_failed: also compute cells again whose method failed.
        log: prints one line of progress.
        terminal: draw a live view instead of plain lines.

    Raises:
        SgBenchError: the backend cannot be started.
    """
    pending = plan.pending(workspace, retry_failed=retry_failed)
    if not pending:
        return RunSummary(0, ())
    for digest, ids in plan.lists.items():
        write_atomic(workspace.path("lists", f"{digest}.txt"), "".join(f"{each}\n" for each in ids))
    jobs = jobs or available_cores()
    with Progress(pending, workspace, log, terminal=terminal) as progress:
        if (backend or plan.suite.backend) == "ray":
            failures, done = _run_on_ray(pending, workspace, progress, ray_address, jobs)
        else:
            failures, done = _run_locally(pending, workspace, progress, jobs)
    return RunSummary(done, failures)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_locally(
    pending: list[Job], workspace: Workspace, progress: Progress, jobs: int
) -> tuple[tuple[str, ...], int]:
    backend = InProcess(workspace) if jobs == 1 else WorkerProcesses(workspace, jobs, list_cards())
    try:
        outcome = Scheduler(pending, backend, workspace, progress).run()
    finally:
        backend.close()
    return _messages(outcome.failures), len(outcome.done)


def _run_on_ray(
    pending: list[Job], workspace: Workspace, progress: Progress, address: str, jobs: int
) -> tuple[tuple[str, ...], int]:
    """Compute what cells need through the scheduler, then pass all cells that can run to Tune."""
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
    return (*_messages(outcome.failures), *sorted({error["message"] for error in failed.values()})), done


def _messages(failures: dict[str, Any]) -> tuple[str, ...]:
    """Return each message once: jobs that need a failed one fail with its message."""
    return tuple(dict.fromkeys(failure.message for failure in failures.values()))
