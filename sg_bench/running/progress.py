"""Progress of a run: a live view on a terminal, plain lines elsewhere, and events for programs.

Each worker writes its progress to a small file, so that one mechanism serves all backends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol

from sg_bench.planning import STAGES, Job, JobProgress, TypedJob, read_progress, shown_duration
from sg_bench.recipes import RecipeKind, StoreRecipe
from sg_bench.running.job_logs import log_name
from sg_bench.running.live import LiveView, StageView
from sg_bench.workspace import Workspace, write_atomic

EventSink = Callable[[Mapping[str, Any]], None]
"""Takes one event of a run; docs/json.md describes their fields."""
REPORT_SECONDS = 1.0
EVENT_SECONDS = 5.0
"""Least time between two events of one job's progress."""
LINE_SECONDS = 60.0
"""Without a terminal: a running job's progress is printed after so long without any other line."""


class HasMessage(Protocol):
    """A failure, as far as progress prints it."""

    @property
    def message(self) -> str:
        """Return one line of text."""


def reporter(workspace: Workspace, key: str) -> Callable[[int, int | None], None]:
    """Return a callback for (steps done, steps in all) that writes progress/<key>.json at most once a second."""
    last, began = 0.0, time.time()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_SECONDS:
            last = now
            written = asdict(JobProgress(done, total, began, time.time()))
            write_atomic(workspace.path("progress", f"{key}.json"), json.dumps(written))

    return report


class Progress:
    """Counts the jobs of each stage that are done, and estimates the time left.

    Args:
        jobs: all that will be run.
        workspace: holds the workers' progress files.
        log: prints one line.
        terminal: whether a live view can be drawn.
        events: takes what happens, for programs; None: nobody asks.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        workspace: Workspace,
        log: Callable[[str], None],
        *,
        terminal: bool,
        events: EventSink | None = None,
    ) -> None:
        self.workspace, self.log, self.events = workspace, log, events
        self.totals: dict[RecipeKind, int] = {}
        for job in jobs:
            self.totals[job.kind] = self.totals.get(job.kind, 0) + 1
        self.done = dict.fromkeys(self.totals, 0)
        self.failed = dict.fromkeys(self.totals, 0)
        self.running: dict[str, RecipeKind] = {}
        self.parts: dict[str, float] = {}
        self.kinds: dict[str, RecipeKind] = {}
        self.since: dict[RecipeKind, float] = {}
        self.begun: dict[str, float] = {}
        self.sent: dict[str, float] = {}
        self.printed_at = time.monotonic()
        self.live = LiveView(self.totals) if terminal else None

    def __enter__(self) -> Progress:
        self._emit("begin", jobs=dict(self.totals))
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def started(self, job: Job) -> None:
        """Note that a job has started."""
        if job.key not in self.running:
            self.running[job.key] = job.kind
            self._emit("started", job)
        self.begun.setdefault(job.key, time.monotonic())
        self.since.setdefault(job.kind, time.monotonic())
        self._draw(job.kind)

    def prepared(self, job: TypedJob[StoreRecipe], cases: int) -> None:
        """Note that some more cases of a store are prepared."""
        self.started(job)
        share = cases / job.recipe.manifest.cases
        self._part(job, min(self.parts.get(job.key, 0.0) + share, 0.999))
        self._break_silence([job])

    def poll(self, running: Iterable[Job]) -> None:
        """Read the progress of the running jobs."""
        running = list(running)
        for job in running:
            found = read_progress(self.workspace, job.key)
            if found and found.total:
                self._part(job, found.fraction)
        self._break_silence(running)

    def _break_silence(self, running: Iterable[Job]) -> None:
        """Print the progress of the running jobs if nothing was printed for long and there is no live view."""
        if not self.live and time.monotonic() - self.printed_at >= LINE_SECONDS:
            for job in running:
                if job.key in self.parts:
                    self._print(job.kind, f"{job.title}, {self.parts[job.key]:.0%} done{self._time_left(job.kind)}")

    def retried(self, job: Job, failure: HasMessage, attempt: int, attempts: int) -> None:
        """Note that a job failed and will be started again."""
        self.running.pop(job.key, None)
        self._emit("retried", job, attempt=attempt, attempts=attempts, error=failure.message)
        self._print(job.kind, f"{job.title}, attempt {attempt} of {attempts} after: {failure.message}")

    def postponed(self, job: Job, failure: HasMessage, *, inherited: bool = False) -> None:
        """Note that a job waits until a damaged result is computed again; `inherited`: printed for another job."""
        self._forget(job)
        self._emit("postponed", job, error=failure.message, inherited=inherited)
        if not inherited:
            self._print(job.kind, f"{job.title} found damage: {failure.message}")

    def left(self, job: Job) -> None:
        """Note that a job is left to another run, which computes it now."""
        for known in (self.parts, self.running, self.sent):
            known.pop(job.key, None)

    def finished(
        self, job: Job, failure: HasMessage | None, *, inherited: bool = False, elsewhere: bool = False
    ) -> None:
        """Note that a job is done or has failed; `inherited` failures were printed for a job that this one needs.

        With `elsewhere` another run has done it.
        """
        self._forget(job)
        self.done[job.kind] += 1
        self.failed[job.kind] += failure is not None
        seconds = time.monotonic() - self.begun.get(job.key, time.monotonic())
        log = log_name(self.workspace, job.key) if failure else ""
        self._emit(
            "finished",
            job,
            status="failed" if failure else "done",
            seconds=round(seconds, 3),
            error=failure.message if failure else None,
            log=log or None,
            inherited=inherited,
            finished=self.done[job.kind],
            failed=self.failed[job.kind],
            total=self.totals[job.kind],
        )
        if failure and not inherited:
            self._print(job.kind, f"FAILED {job.title}: {failure.message}{f' (log: {log})' if log else ''}")
        elif not failure and not self.live:
            how = "in another run" if elsewhere else f"{seconds:.1f} s"
            self._print(job.kind, f"{job.title} ({how}){self._time_left(job.kind)}")
        self._draw(job.kind)

    def _forget(self, job: Job) -> None:
        """Remove what is known of a running job."""
        self.workspace.path("progress", f"{job.key}.json").unlink(missing_ok=True)
        self.left(job)

    def _print(self, kind: RecipeKind, what: str) -> None:
        self.printed_at = time.monotonic()
        self.log(f"{STAGES[kind]} {self.done[kind]}/{self.totals[kind]}: {what}")

    def _part(self, job: Job, part: float) -> None:
        self.parts[job.key] = part
        self.kinds[job.key] = job.kind
        now = time.monotonic()
        if now - self.sent.get(job.key, now - EVENT_SECONDS) >= EVENT_SECONDS:
            self.sent[job.key] = now
            self._emit("progress", job, fraction=round(part, 4))
        self._draw(job.kind)

    def _emit(self, event: str, job: Job | None = None, **fields: Any) -> None:
        if self.events:
            of_job = {"kind": job.kind, "key": job.key, "title": job.title} if job else {}
            self.events({"event": event, "time": round(time.time(), 3), **of_job, **fields})

    def _draw(self, kind: RecipeKind) -> None:
        if self.live:
            running = sum(each == kind for each in self.running.values())
            completed = self._fraction(kind) * self.totals[kind]
            self.live.draw(kind, StageView(completed, running, self.failed[kind], self._a_minute(kind)))

    def _a_minute(self, kind: RecipeKind) -> float:
        """Return how many jobs of a stage end in a minute, at its pace so far."""
        seconds = time.monotonic() - self.since.get(kind, time.monotonic())
        return 60 * self.done[kind] / seconds if seconds > 0 else 0.0

    def _fraction(self, kind: RecipeKind) -> float:
        running = sum(part for key, part in self.parts.items() if self.kinds[key] == kind)
        return (self.done[kind] + running) / self.totals[kind]

    def _time_left(self, kind: RecipeKind) -> str:
        """Return ", about 2 min left in this stage" at its pace so far, "" if that is unknown."""
        fraction = self._fraction(kind)
        if not 0 < fraction < 1:
            return ""
        seconds = (time.monotonic() - self.since.get(kind, time.monotonic())) * (1 - fraction) / fraction
        return f", about {shown_duration(seconds)} left in this stage"
