"""The scheduler: starts each job as soon as what it needs is done, on as many workers as there are.

One failed job never stops the others: the jobs that need it fail with it, the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Protocol

from sg_bench.data.sources.base import Case
from sg_bench.data.store import skipped_cases
from sg_bench.ledger import Ledger
from sg_bench.planning import Job, TypedJob, is_built, prepares_store
from sg_bench.recipes import DiscoveryRecipe, StoreRecipe
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.progress import Progress
from sg_bench.running.stages.discover import PORTION, Share, steps
from sg_bench.running.stages.prepare import cases_of
from sg_bench.workspace import Workspace

ATTEMPTS = 3
"""How often a unit is started that fails by its infrastructure: a lost worker, lack of memory, a lost connection."""
MAX_CASES = 32
"""Most cases of a store that one process prepares before it takes more."""
POLL_SECONDS = 0.5
PRIORITY = {"store": 0, "patterns": 1, "initialisation": 2, "cell": 4}
"""Lower numbers start first."""


@dataclass(frozen=True)
class Unit:
    """A job, or the preparation of some cases of a store, or one share of a discovery."""

    job: Job
    cases: tuple[Case, ...] = ()
    share: Share | None = None

    @property
    def name(self) -> str:
        """Return the name by which other units wait for this one."""
        if self.share:
            return f"{self.job.key}/{self.share.step} {self.share.index}"
        return f"{self.job.key}/{self.cases[0].id}" if self.cases else self.job.key


class Backend(Protocol):
    """Executes units: on this machine or on Ray."""

    slots: int
    """Processes that may compute at once."""
    one_machine: bool
    """Whether all units share this machine's memory: the last attempt of a unit then runs alone."""

    def fits(self, unit: Unit) -> bool:
        """Return whether the devices have the memory for one more unit."""

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit that fits."""

    def failure(self, error: Exception) -> Failure:
        """Describe and classify what a unit's future raised."""


@dataclass
class ScheduleOutcome:
    """Keys of the jobs that were done, and the failures of the others."""

    done: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    damaged: dict[str, Failure] = field(default_factory=dict)
    """Jobs that could not be computed because something that they need was damaged; no failures of their own."""

    def unfinished(self, key: str) -> bool:
        """Return whether a job has neither been done nor given up."""
        return key not in self.done and key not in self.failures and key not in self.damaged


class Scheduler:
    """Runs jobs on a backend.

    Args:
        jobs: each after the jobs that it needs; needs that are not among them must be in the workspace already.
        backend: where the jobs run.
        workspace: of the results.
        progress: is notified of every start, step and end.
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
        self.outcome = ScheduleOutcome()
        self.waiting: dict[Unit, frozenset[str]] = {}
        self.running: dict[Future[Failure | None], Unit] = {}
        self.attempts: dict[Unit, int] = {}
        self.hold_cells = hold_cells
        self._discovery_needs = {key for job in self.jobs.values() if job.kind == "patterns" for key in job.needs}

    @property
    def held(self) -> list[Job]:
        """Return the cells that were not run and for which everything is ready."""
        return [job for job in self.jobs.values() if job.kind == "cell" and self.outcome.unfinished(job.key)]

    def run(self) -> ScheduleOutcome:
        """Run all jobs to their end."""
        for job in self.jobs.values():
            if self.outcome.unfinished(job.key):
                self._expect(job)
        while self.waiting or self.running:
            self._start_ready()
            finished, _ = wait(self.running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            self.progress.poll([unit.job for unit in self.running.values() if not unit.cases])
            for future in finished:
                self._finish(self.running.pop(future), future)
        return self.outcome

    def _expect(self, job: Job) -> None:
        """Add a job's units; the cases of a store are units of their own, which the store waits for."""
        needs = {key for key in job.needs if key in self.jobs}
        if prepares_store(job):
            try:
                parts = self._parts(job)
            except Exception as error:
                self._fail(job, Failure.of(error))
                return
            self.waiting.update(dict.fromkeys(parts, frozenset()))
            needs |= {part.name for part in parts}
        elif isinstance(job.recipe, DiscoveryRecipe) and self.backend.slots > 1:
            for shares in self._shares(job, job.recipe):
                self.waiting.update(dict.fromkeys(shares, frozenset(needs)))
                needs = {share.name for share in shares}
        if not (job.kind == "cell" and self.hold_cells):
            self.waiting[Unit(job)] = frozenset(needs)

    def _parts(self, job: TypedJob[StoreRecipe]) -> list[Unit]:
        """Return a store's cases in portions small enough to keep all processes busy to the end.

        Of a finished store only the cases that were left out, to be tried again.
        """
        cases = cases_of(job)
        if is_built(self.workspace, job):
            left_out = {skipped.id for skipped in skipped_cases(self.workspace.path("stores", job.key))}
            cases = [case for case in cases if case.id in left_out]
        size = max(1, min(MAX_CASES, len(cases) // (4 * self.backend.slots)))
        return [Unit(job, tuple(cases[first : first + size])) for first in range(0, len(cases), size)]

    def _shares(self, job: Job, recipe: DiscoveryRecipe) -> list[list[Unit]]:
        """Return the shares of each step of a discovery, one for each process."""
        cases, portion = recipe.corpus.store.manifest.cases, PORTION[recipe.settings.dimension]
        count = min(self.backend.slots, ceil(cases / portion))
        return [[Unit(job, share=Share(step, index, count)) for index in range(count)] for step in steps(recipe)]

    def _start_ready(self) -> None:
        """Start what can run; what waits for a device lets others of its kind go first, but nothing less urgent."""
        waits_for_device: int | None = None
        for unit in sorted((unit for unit, needs in self.waiting.items() if not needs), key=self._priority):
            taken = sum(other.job.workers for other in self.running.values())
            alone = any(self._runs_alone(other) for other in (unit, *self.running.values()))
            if taken and (alone or taken + unit.job.workers > self.backend.slots):
                return
            if waits_for_device is not None and self._priority(unit) > waits_for_device:
                return
            if not self.backend.fits(unit):
                waits_for_device = self._priority(unit)
                continue
            del self.waiting[unit]
            self.progress.started(unit.job)
            self.running[self.backend.submit(unit)] = unit

    def _priority(self, unit: Unit) -> int:
        """Return 1 for what a discovery needs, because most other jobs wait for it, else the priority of the kind."""
        needed_first = unit.job.kind == "initialisation" and unit.job.key in self._discovery_needs
        return 1 if needed_first else PRIORITY[unit.job.kind]

    def _runs_alone(self, unit: Unit) -> bool:
        """Return whether this is a unit's last attempt, which has the machine's memory to itself."""
        return self.backend.one_machine and self.attempts.get(unit) == ATTEMPTS

    def _finish(self, unit: Unit, future: Future[Failure | None]) -> None:
        try:
            failure = future.result()
        except Exception as error:
            failure = self.backend.failure(error)
        if failure and failure.transient:
            self._retry(unit, failure)
            return
        if failure and failure.damaged:
            self._postpone(unit.job, failure)
            return
        if failure:
            self._fail(unit.job, failure)
            return
        if unit.cases and prepares_store(unit.job):
            if self.outcome.unfinished(unit.job.key):
                self.progress.prepared(unit.job, len(unit.cases))
        elif not unit.share:
            self.outcome.done.add(unit.job.key)
            self.progress.finished(unit.job, None)
        self.waiting = {other: needs - {unit.name} for other, needs in self.waiting.items()}

    def _retry(self, unit: Unit, failure: Failure) -> None:
        """Let a unit be started again after a failure of the infrastructure, ATTEMPTS times in all."""
        if not self.outcome.unfinished(unit.job.key):
            return
        self.attempts[unit] = self.attempts.get(unit, 1) + 1
        if self.attempts[unit] > ATTEMPTS:
            message = f"{failure.message.rstrip('.')} (tried {ATTEMPTS} times)"
            self._fail(unit.job, replace(failure, message=message))
        else:
            self.progress.retried(unit.job, failure, self.attempts[unit], ATTEMPTS)
            self.waiting[unit] = frozenset()

    def _postpone(self, job: Job, failure: Failure, *, inherited: bool = False) -> None:
        """Leave a job, and all that need it or the damaged result, to another pass after that is computed again."""
        if not self.outcome.unfinished(job.key):
            return
        known = any(each.damaged == failure.damaged for each in self.outcome.damaged.values())
        self.outcome.damaged[job.key] = failure
        self.progress.postponed(job, failure, inherited=inherited or known)
        self.waiting = {unit: needs for unit, needs in self.waiting.items() if unit.job.key != job.key}
        running = {unit.job.key for unit in self.running.values()}
        for other in self.jobs.values():
            if other.key not in running and {job.key, failure.damaged} & set(other.needs):
                self._postpone(other, failure, inherited=True)

    def _fail(self, job: Job, failure: Failure, *, inherited: bool = False) -> None:
        """Record a failure, and that of every job that needs this one."""
        if not self.outcome.unfinished(job.key):
            return
        self.outcome.failures[job.key] = failure
        if job.kind == "cell":
            roots = (other.root for other in self.jobs.values() if other.root)
            Ledger(self.workspace).put(failed_record(job, failure, [self.workspace.root, *roots]))
        self.progress.finished(job, failure, inherited=inherited)
        self.waiting = {unit: needs for unit, needs in self.waiting.items() if unit.job.key != job.key}
        for other in self.jobs.values():
            if job.key in other.needs:
                self._fail(other, failure, inherited=True)
