"""Which job runs next: each as soon as what it needs is done, on as many workers as there are.

One failed job never stops the others: what stands on it is recorded as failed, the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Protocol

from sg_bench.data.sources.base import Case
from sg_bench.data.store import skipped_cases
from sg_bench.ledger import Ledger
from sg_bench.planning import Job, is_built
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.jobs import cases_of
from sg_bench.running.progress import Progress
from sg_bench.workspace import Workspace

ATTEMPTS = 3
"""How often a job is started whose worker died: all that ran beside it die too, without fault."""
MOST_CASES = 32
"""Cases of a store that one process prepares before it asks for more."""
POLL_SECONDS = 0.5
URGENCY = {"store": 0, "patterns": 1, "initialisation": 2, "cell": 4}


@dataclass(frozen=True)
class Unit:
    """A job, or some cases of a store that are prepared by themselves."""

    job: Job
    cases: tuple[Case, ...] = ()

    @property
    def name(self) -> str:
        """Return what other units call it that need it."""
        return f"{self.job.key}/{self.cases[0].id}" if self.cases else self.job.key

    @property
    def urgency(self) -> int:
        """Return what to start first: whatever most others wait for."""
        encoder = self.job.kind == "initialisation" and self.job.recipe["method"] == "autoencoder"
        return 1 if encoder else URGENCY[self.job.kind]


class Backend(Protocol):
    """Where units run."""

    slots: int
    """Processes that may compute at once."""

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit."""


@dataclass
class Outcome:
    """What became of the jobs."""

    done: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    """By job key; a cell that failed by itself stands in the ledger only."""


class Scheduler:
    """Runs jobs on a backend.

    Args:
        jobs: each after the jobs that it needs; what they need besides is in the workspace already.
        backend: where.
        workspace: of the results.
        progress: told of every start, step and end.
        hold_cells: run no cell, but leave those that could run in `held`.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        backend: Backend,
        workspace: Workspace,
        progress: Progress,
        *,
        hold_cells: bool = False,
    ) -> None:
        self.jobs = {job.key: job for job in jobs}
        self.backend, self.workspace, self.progress = backend, workspace, progress
        self.outcome = Outcome()
        self.waiting: dict[Unit, frozenset[str]] = {}
        self.running: dict[Future[Failure | None], Unit] = {}
        self.attempts: dict[Unit, int] = {}
        self.hold_cells = hold_cells

    @property
    def held(self) -> list[Job]:
        """Return the cells that were not run and for which everything is ready."""
        over = {*self.outcome.done, *self.outcome.failures}
        return [job for job in self.jobs.values() if job.kind == "cell" and job.key not in over]

    def run(self) -> Outcome:
        """Run all jobs to their end."""
        for job in self.jobs.values():
            if job.key not in self.outcome.failures:
                self._expect(job)
        while self.waiting or self.running:
            self._start_ready()
            finished, _ = wait(self.running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            self.progress.poll([unit.job for unit in self.running.values() if not unit.cases])
            for future in finished:
                self._finish(self.running.pop(future), future)
        return self.outcome

    def _expect(self, job: Job) -> None:
        """Add a job's units: for a store, first each of its cases."""
        needs = {key for key in job.needs if key in self.jobs}
        if job.kind == "store":
            try:
                parts = self._parts(job)
            except Exception as error:
                self._fail(job, Failure.of(error))
                return
            self.waiting.update(dict.fromkeys(parts, frozenset()))
            needs |= {part.name for part in parts}
        if not (job.kind == "cell" and self.hold_cells):
            self.waiting[Unit(job)] = frozenset(needs)

    def _parts(self, job: Job) -> list[Unit]:
        """Return a store's cases in portions small enough to keep all processes busy to the end.

        Of a finished store only those that it does without, to be tried again.
        """
        cases = cases_of(job)
        if is_built(self.workspace, job):
            left_out = {skipped.id for skipped in skipped_cases(self.workspace.path("stores", job.key))}
            cases = [case for case in cases if case.id in left_out]
        size = max(1, min(MOST_CASES, len(cases) // (4 * self.backend.slots)))
        return [Unit(job, tuple(cases[first : first + size])) for first in range(0, len(cases), size)]

    def _start_ready(self) -> None:
        ready = sorted((unit for unit, needs in self.waiting.items() if not needs), key=lambda unit: unit.urgency)
        for unit in ready:
            taken = sum(other.job.workers for other in self.running.values())
            if taken and taken + unit.job.workers > self.backend.slots:
                return
            del self.waiting[unit]
            self.progress.started(unit.job)
            self.running[self.backend.submit(unit)] = unit

    def _finish(self, unit: Unit, future: Future[Failure | None]) -> None:
        try:
            failure = future.result()
        except BrokenProcessPool:
            self._retry(unit)
            return
        except Exception as error:
            failure = Failure.of(error)
        if failure:
            self._fail(unit.job, failure)
            return
        if unit.cases:
            if unit.job.key not in self.outcome.failures:
                self.progress.prepared(unit.job, len(unit.cases))
        else:
            self.outcome.done.add(unit.job.key)
            self.progress.finished(unit.job, None)
        self.waiting = {other: needs - {unit.name} for other, needs in self.waiting.items()}

    def _retry(self, unit: Unit) -> None:
        """Start a unit again whose worker was killed, a few times."""
        self.attempts[unit] = self.attempts.get(unit, 1) + 1
        if self.attempts[unit] > ATTEMPTS:
            message = f"{unit.job.title}: its worker process died {ATTEMPTS} times. Free memory, or use fewer --jobs"
            self._fail(unit.job, Failure("infrastructure", "WorkerDied", message, ""))
        else:
            self.waiting[unit] = frozenset()

    def _fail(self, job: Job, failure: Failure, *, inherited: bool = False) -> None:
        """Record a failure, and that of everything that stands on it."""
        if job.key in self.outcome.failures:
            return
        self.outcome.failures[job.key] = failure
        if job.kind == "cell":
            roots = (other.root for other in self.jobs.values() if other.root)
            Ledger(self.workspace).put(failed_record(job, failure, [self.workspace.root, *roots]))
        self.progress.finished(job, failure, told=inherited)
        self.waiting = {unit: needs for unit, needs in self.waiting.items() if unit.job.key != job.key}
        for other in self.jobs.values():
            if job.key in other.needs:
                self._fail(other, failure, inherited=True)
