"""`run`: compute the cells of a plan that the workspace lacks, and what they need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from sg_bench.ledger import Ledger
from sg_bench.machine import available_cores
from sg_bench.planning import Job, Plan, refresh, registered
from sg_bench.running.cluster.options import ON_THIS_MACHINE, ClusterOptions
from sg_bench.running.failures import failed_record
from sg_bench.running.local import InProcess, WorkerProcesses
from sg_bench.running.packing import list_cards
from sg_bench.running.progress import EventSink, Progress
from sg_bench.running.schedule import ATTEMPTS, ScheduleOutcome, Scheduler
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
    cluster: ClusterOptions = ON_THIS_MACHINE,
    retry_failed: bool = False,
    also: Collection[str] = (),
    log: Callable[[str], None] = print,
    terminal: bool = False,
    events: EventSink | None = None,
) -> RunSummary:
    """Compute all missing cells of `plan`, and what they need.

    What is found damaged on the way is set aside and computed again in another pass, and then what needs it.

    Args:
        plan: from `planning.plan`.
        workspace: holds earlier results, and gets the new ones.
        backend: None takes the suite's.
        jobs: processes at once; None takes the machine's cores.
        cluster: for the ray backend.
        retry_failed: also compute cells again whose method failed.
        also: keys of results that are wanted besides those that missing cells need.
        log: prints one line of progress.
        terminal: draw a live view instead of plain lines.
        events: takes what happens, for programs.

    Raises:
        SgBenchError: the backend cannot be started.
    """
    pending = plan.pending(workspace, retry_failed=retry_failed, damaged=also)
    if not pending:
        return RunSummary(0, ())
    if workspace.remote:
        workspace.remote.check()
    for digest, ids in plan.lists.items():
        write_atomic(workspace.path("lists", f"{digest}.txt"), "".join(f"{each}\n" for each in ids))
        if workspace.remote:
            workspace.remote.push("lists", f"{digest}.txt")

    def run_once(pending: list[Job]) -> ScheduleOutcome:
        progress = Progress(pending, workspace, log, terminal=terminal, events=events)
        if (backend or plan.suite.backend) == "ray":
            return _run_on_ray(pending, workspace, progress, cluster, jobs)
        return _run_locally(pending, workspace, progress, jobs or available_cores())

    elsewhere = (backend or plan.suite.backend) == "ray" and cluster.address != ON_THIS_MACHINE.address
    with registered(plan, pending, workspace, slots=jobs or available_cores(), log=log, elsewhere=elsewhere):
        total = _until_undamaged(plan, workspace, pending, run_once, retry_failed=retry_failed)
    refresh(plan, workspace)  # other nodes may have computed a part
    _record_damage(plan, total, workspace)
    messages = [failure.message for failure in [*total.failures.values(), *total.damaged.values()]]
    return RunSummary(len(total.done), tuple(dict.fromkeys(messages)))


def _until_undamaged(
    plan: Plan,
    workspace: Workspace,
    pending: list[Job],
    run_once: Callable[[list[Job]], ScheduleOutcome],
    *,
    retry_failed: bool,
) -> ScheduleOutcome:
    """Run the pending jobs, and what is found damaged again, with what needs it; a few times at most."""
    total, found = ScheduleOutcome(), Counter[str]()
    while pending:
        outcome = run_once(pending)
        total = ScheduleOutcome(total.done | outcome.done, total.failures | outcome.failures, outcome.damaged)
        damaged = {failure.damaged for failure in outcome.damaged.values()}
        found.update(damaged)
        if not damaged or max(found.values()) == ATTEMPTS:
            break
        again = plan.pending(workspace, retry_failed=retry_failed, damaged=damaged)
        pending = [job for job in again if job.key not in total.failures]
    return total


def _record_damage(plan: Plan, outcome: ScheduleOutcome, workspace: Workspace) -> None:
    """Record as failed the cells whose input was damaged each time that it was computed; the next run tries again."""
    roots = [workspace.root, *plan.roots.values()]
    for key, failure in outcome.damaged.items():
        if plan.jobs[key].kind == "cell":
            Ledger(workspace).put(failed_record(plan.jobs[key], failure, roots))


def _run_locally(pending: list[Job], workspace: Workspace, progress: Progress, jobs: int) -> ScheduleOutcome:
    backend = InProcess(workspace) if jobs == 1 else WorkerProcesses(workspace, jobs, list_cards())
    try:
        with progress:
            return Scheduler(pending, backend, workspace, progress).run()
    finally:
        backend.close()


def _run_on_ray(
    pending: list[Job], workspace: Workspace, progress: Progress, cluster: ClusterOptions, jobs: int | None
) -> ScheduleOutcome:
    from sg_bench.running.cluster.backend import RayBackend

    backend = RayBackend(
        workspace,
        cluster.address,
        jobs,
        workers=max((job.workers for job in pending if getattr(job.recipe, "corpus", None)), default=1),
        wait=cluster.wait,
        ship_code=cluster.ship_code,
        log=progress.log,
    )
    troubled = False
    try:
        with progress:
            outcome = Scheduler(pending, backend, workspace, progress).run()
        troubled = any(failure.kind == "infrastructure" for failure in outcome.failures.values())
        return outcome
    except (KeyboardInterrupt, SystemExit):
        backend.close(at_once=True)
        raise
    except Exception:
        troubled = True
        raise
    finally:
        backend.close()
        if troubled:
            progress.log(f"What Ray wrote is in {backend.connection.log_file}")
