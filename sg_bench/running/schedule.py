"""The scheduler: starts each job as soon as what it needs is done, on as many workers as there are.

One failed job never stops the others: the jobs that need it fail with it, the rest goes on. What another run on the
same workspace computes meanwhile is left to it, and looked for again later.
"""

from __future__ import annotations

import random
import time
from bisect import insort
from collections.abc import Collection, Iterable, Iterator
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
from sg_bench.running.order import start_order
from sg_bench.running.progress import Progress
from sg_bench.running.stages.discover import PORTION, Share, steps
from sg_bench.running.stages.prepare import cases_of
from sg_bench.workspace import LockedElsewhere, Workspace

ATTEMPTS = 3
"""How often a unit is started that fails by its infrastructure: a lost worker, lack of memory, a lost connection."""
MAX_CASES = 32
"""Most cases of a store that one process prepares before it takes more."""
POLL_SECONDS = 0.5
BUSY_SECONDS = 2.0
"""After so long, what another run computes is looked for again."""
ALTERNATIVES = 32
"""Units of the same urgency that are tried after one that does not fit the devices."""


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
    """Processes that may compute at once: into so many shares work is divided."""
    one_machine: bool
    """Whether all units share this machine's memory: the last attempt of a unit then runs alone."""

    def fits(self, unit: Unit, running: Collection[Unit]) -> bool:
        """Return whether one more unit can be started next to those that run; True if there are none."""

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit that fits."""

    def failure(self, error: Exception) -> Failure:
        """Describe and classify what a unit's future raised.

        Raises:
            SgBenchError: nothing more can be run.
        """


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
    """

    def __init__(self, jobs: Iterable[Job], backend: Backend, workspace: Workspace, progress: Progress) -> None:
        self.jobs = {job.key: job for job in jobs}
        self.backend, self.workspace, self.progress = backend, workspace, progress
        self.outcome = ScheduleOutcome()
        self.waiting = _Waiting(self.jobs.values())
        self.running: dict[Future[Failure | None], Unit] = {}
        self.attempts: dict[str, int] = {}
        self.busy: list[tuple[float, Unit]] = []
        """Units that another run computes, and when to look for them again."""
        self.earlier = {key: failure for key, job in self.jobs.items() if (failure := self._recorded_failure(job))}
        """Failures of cells that are computed again, by key."""
        self._needed_by: dict[str, list[Job]] = {}
        for job in self.jobs.values():
            for key in job.needs:
                self._needed_by.setdefault(key, []).append(job)

    def run(self) -> ScheduleOutcome:
        """Run all jobs to their end."""
        for job in self.jobs.values():
            if self.outcome.unfinished(job.key):
                self._expect(job)
        while self.waiting or self.running or self.busy:
            self._look_again()
            self._start_ready()
            finished, _ = wait(self.running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            self.progress.poll([unit.job for unit in self.running.values() if not unit.cases])
            for future in finished:
                self._finish(self.running.pop(future), future)
            if not self.running and self.busy:
                time.sleep(POLL_SECONDS)  # nothing but what another run computes is left
        return self.outcome

    def _expect(self, job: Job) -> None:
        """Add a job's units; the cases of a store are units of their own, which the store waits for."""
        needs = {key for key in job.needs if key in self.jobs}
        if prepares_store(job) and self._is_divided(store=True):
            try:
                parts = self._parts(job)
            except Exception as error:
                self._fail(job, Failure.of(error))
                return
            for part in parts:
                self.waiting.add(part)
            needs |= {part.name for part in parts}
        elif isinstance(job.recipe, DiscoveryRecipe) and self._is_divided():
            for shares in self._shares(job, job.recipe):
                for share in shares:
                    self.waiting.add(share, needs)
                needs = {share.name for share in shares}
        self.waiting.add(Unit(job), needs)

    def _is_divided(self, *, store: bool = False) -> bool:
        """Return whether a job's cases are units of their own: their parts must come together in one folder."""
        one_folder = self.backend.one_machine or self.workspace.remote is None
        return one_folder and (store or self.backend.slots > 1)

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
        """Start what can run; what does not fit lets others of its urgency go first, but nothing less urgent."""
        refused, tried = -1, 0
        for unit in self.waiting.ready():
            if self.waiting.urgency(unit) > refused >= 0 or tried == ALTERNATIVES:
                return
            running = self.running.values()
            if running and any(self._runs_alone(other) for other in (unit, *running)):
                return
            if not self.backend.fits(unit, running):
                refused, tried = self.waiting.urgency(unit), tried + 1
                continue
            self.waiting.remove(unit)
            if self._done_elsewhere(unit):
                self._complete(unit, elsewhere=True)
            elif unit.job.kind == "initialisation" and self._locked_elsewhere(unit):  # dear to find out by starting it
                self._leave(unit)
            else:
                self.progress.started(unit.job)
                self.running[self.backend.submit(unit)] = unit

    def _runs_alone(self, unit: Unit) -> bool:
        """Return whether this is a unit's last attempt, which has the machine's memory to itself."""
        return self.backend.one_machine and self.attempts.get(unit.name) == ATTEMPTS

    def _finish(self, unit: Unit, future: Future[Failure | None]) -> None:
        try:
            failure = future.result()
        except Exception as error:
            failure = self.backend.failure(error)
        if failure is None:
            self._complete(unit)
        elif failure.busy:
            self._leave(unit)
        elif failure.transient:
            self._retry(unit, failure)
        elif failure.damaged:
            self._postpone(unit.job, failure)
        else:
            self._fail(unit.job, failure)

    def _complete(self, unit: Unit, *, elsewhere: bool = False) -> None:
        if unit.cases and prepares_store(unit.job):
            if self.outcome.unfinished(unit.job.key):
                self.progress.prepared(unit.job, len(unit.cases))
        elif not unit.share:
            self.outcome.done.add(unit.job.key)
            self.progress.finished(unit.job, None, elsewhere=elsewhere)
        self.waiting.release(unit.name)

    def _retry(self, unit: Unit, failure: Failure) -> None:
        """Let a unit be started again after a failure of the infrastructure, ATTEMPTS times in all."""
        if not self.outcome.unfinished(unit.job.key):
            return
        self.attempts[unit.name] = self.attempts.get(unit.name, 1) + 1
        if self.attempts[unit.name] > ATTEMPTS:
            message = f"{failure.message.rstrip('.')} (tried {ATTEMPTS} times)"
            self._fail(unit.job, replace(failure, message=message))
        else:
            self.progress.retried(unit.job, failure, self.attempts[unit.name], ATTEMPTS)
            self.waiting.add(unit)

    def _leave(self, unit: Unit) -> None:
        """Leave a unit to the other run that computes it, and go on at another place of the order."""
        if not self.waiting.turned:
            self.progress.log("Another run computes the same results: this one shares the work with it")
        self.progress.left(unit.job)
        self.busy.append((time.monotonic() + BUSY_SECONDS, unit))
        self.waiting.turn()

    def _look_again(self) -> None:
        """Take up what another run was computing a while ago, or its result if it has finished it."""
        now = time.monotonic()
        due = [unit for after, unit in self.busy if after <= now]
        self.busy = [each for each in self.busy if each[0] > now]
        for unit in due:
            if self._locked_elsewhere(unit):
                self.busy.append((now + BUSY_SECONDS, unit))
            elif self._done_elsewhere(unit):
                self._complete(unit, elsewhere=True)
            elif (failure := self._recorded_failure(unit.job)) and failure != self.earlier.get(unit.job.key):
                self._fail(unit.job, failure, recorded=True)
            elif self.outcome.unfinished(unit.job.key):
                self.waiting.add(unit)

    def _done_elsewhere(self, unit: Unit) -> bool:
        """Return whether another run has finished a job."""
        if unit.cases or unit.share or prepares_store(unit.job):
            return False
        if unit.job.kind == "cell":
            return Ledger(self.workspace).done(unit.job.key)
        return is_built(self.workspace, unit.job)

    def _recorded_failure(self, job: Job) -> Failure | None:
        """Return why a cell has failed, by its record, unless by the infrastructure."""
        record = Ledger(self.workspace).get(job.key) if job.kind == "cell" else None
        if record is None or record["status"] == "done" or record["error"]["kind"] == "infrastructure":
            return None
        return Failure(**record["error"])

    def _locked_elsewhere(self, unit: Unit) -> bool:
        """Return whether another process computes a job; of parts of a job it is not known."""
        if unit.cases or unit.share:
            return False
        try:
            with self.workspace.lock(unit.job.key, wait=False):
                return False
        except LockedElsewhere:
            return True

    def _postpone(self, job: Job, failure: Failure, *, inherited: bool = False) -> None:
        """Leave a job, and all that need it or the damaged result, to another pass after that is computed again."""
        if not self.outcome.unfinished(job.key):
            return
        known = any(each.damaged == failure.damaged for each in self.outcome.damaged.values())
        self.outcome.damaged[job.key] = failure
        self.progress.postponed(job, failure, inherited=inherited or known)
        self.waiting.drop(job)
        running = {unit.job.key for unit in self.running.values()}
        for key in (job.key, failure.damaged):
            for other in self._needed_by.get(key, ()):
                if other.key not in running:
                    self._postpone(other, failure, inherited=True)

    def _fail(self, job: Job, failure: Failure, *, inherited: bool = False, recorded: bool = False) -> None:
        """Record a failure, and that of every job that needs this one."""
        if not self.outcome.unfinished(job.key):
            return
        self.outcome.failures[job.key] = failure
        if job.kind == "cell" and not recorded:
            roots = (other.root for other in self.jobs.values() if other.root)
            Ledger(self.workspace).put(failed_record(job, failure, [self.workspace.root, *roots]))
        self.progress.finished(job, failure, inherited=inherited)
        self.waiting.drop(job)
        for other in self._needed_by.get(job.key, ()):
            self._fail(other, failure, inherited=True)


class _Waiting:
    """Units that have not been started: those that could be, in the order of starting, and those that need others.

    Args:
        jobs: all that units may be of.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._order = start_order(jobs)
        self._ready: list[tuple[tuple[int, int], int, Unit]] = []
        self._numbers: dict[str, int] = {}
        self._blocked: dict[str, tuple[Unit, set[str]]] = {}
        self._blocks: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        self._first = 0
        """Of units that are as urgent, those from this place on start before the others."""
        self.turned = False
        """Whether `turn` was called."""

    def __bool__(self) -> bool:
        return bool(self._ready or self._blocked)

    def add(self, unit: Unit, needs: Iterable[str] = ()) -> None:
        """Add a unit that waits for the units or jobs of these names."""
        needs = set(needs)
        self._names.setdefault(unit.job.key, []).append(unit.name)
        if needs:
            self._blocked[unit.name] = unit, needs
            for name in needs:
                self._blocks.setdefault(name, []).append(unit.name)
        else:
            number = self._numbers.setdefault(unit.name, len(self._numbers))
            insort(self._ready, (self._order[unit.job.key], number, unit))

    def release(self, name: str) -> None:
        """Note that a unit or job is done."""
        for blocked in self._blocks.pop(name, ()):
            if blocked in self._blocked:
                unit, needs = self._blocked[blocked]
                needs.discard(name)
                if not needs:
                    del self._blocked[blocked]
                    self.add(unit)

    def remove(self, unit: Unit) -> None:
        """Remove a unit that was ready."""
        number = self._numbers[unit.name]
        self._ready = [each for each in self._ready if each[1] != number]

    def drop(self, job: Job) -> None:
        """Remove all units of a job."""
        names = self._names.pop(job.key, ())
        for name in names:
            self._blocked.pop(name, None)
        numbers = {self._numbers[name] for name in names if name in self._numbers}
        if numbers:
            self._ready = [each for each in self._ready if each[1] not in numbers]

    def urgency(self, unit: Unit) -> int:
        """Return a unit's priority; lower numbers start first."""
        return self._order[unit.job.key][0]

    def ready(self) -> Iterator[Unit]:
        """Yield the units that could be started, in their order as it is now."""
        places = self._ready
        if self.turned:
            places = sorted(places, key=lambda each: (each[0][0], each[0][1] < self._first, each[:2]))
        return iter([unit for _, _, unit in places])

    def turn(self) -> None:
        """Go on at a place drawn at random, away from that of another run."""
        self.turned = True
        if self._ready:
            self._first = random.choice(self._ready)[0][1]
