"""Progress of a run: a live view on a terminal, plain lines elsewhere.

Each worker writes its progress to a small file, so that one mechanism serves all backends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol

from sg_bench.planning import Job, TypedJob
from sg_bench.recipes import RecipeKind, StoreRecipe
from sg_bench.workspace import Workspace, write_atomic

STAGES: dict[RecipeKind, str] = {
    "store": "prepare",
    "patterns": "discover",
    "initialisation": "pretrain",
    "cell": "fine-tune",
}
REPORT_SECONDS = 1.0
LINE_SECONDS = 60.0
"""Without a terminal: a running job's progress is printed after so long without any other line."""


class HasMessage(Protocol):
    """A failure, as far as progress prints it."""

    @property
    def message(self) -> str:
        """Return one line of text."""


def reporter(workspace: Workspace, key: str) -> Callable[[int, int | None], None]:
    """Return a callback for (steps done, steps in all) that writes progress/<key>.json at most once a second."""
    last = 0.0

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_SECONDS:
            last = now
            write_atomic(workspace.path("progress", f"{key}.json"), json.dumps([done, total]))

    return report


class Progress:
    """Counts the jobs of each stage that are done, and estimates the time left.

    Args:
        jobs: all that will be run.
        workspace: holds the workers' progress files.
        log: prints one line.
        terminal: whether a live view can be drawn.
    """

    def __init__(
        self, jobs: Iterable[Job], workspace: Workspace, log: Callable[[str], None], *, terminal: bool
    ) -> None:
        self.workspace, self.log = workspace, log
        self.totals: dict[RecipeKind, int] = {}
        for job in jobs:
            self.totals[job.kind] = self.totals.get(job.kind, 0) + 1
        self.done = dict.fromkeys(self.totals, 0.0)
        self.parts: dict[str, float] = {}
        self.kinds: dict[str, RecipeKind] = {}
        self.since: dict[RecipeKind, float] = {}
        self.begun: dict[str, float] = {}
        self.printed_at = time.monotonic()
        self.live = _Live(self.totals) if terminal else None

    def __enter__(self) -> Progress:
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
        self.begun.setdefault(job.key, time.monotonic())
        self.since.setdefault(job.kind, time.monotonic())

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
            try:
                done, total = json.loads(self.workspace.path("progress", f"{job.key}.json").read_text())
            except (FileNotFoundError, ValueError):  # not begun, or just finished by another run; or damaged
                continue
            if total:
                self._part(job, min(done / total, 0.999))
        self._break_silence(running)

    def _break_silence(self, running: Iterable[Job]) -> None:
        """Print the progress of the running jobs if nothing was printed for long and there is no live view."""
        if not self.live and time.monotonic() - self.printed_at >= LINE_SECONDS:
            for job in running:
                if job.key in self.parts:
                    self._print(job.kind, f"{job.title}, {self.parts[job.key]:.0%} done{self._time_left(job.kind)}")

    def retried(self, job: Job, failure: HasMessage, attempt: int, attempts: int) -> None:
        """Note that a job failed and will be started again."""
        self._print(job.kind, f"{job.title}, attempt {attempt} of {attempts} after: {failure.message}")

    def postponed(self, job: Job, failure: HasMessage, *, inherited: bool = False) -> None:
        """Note that a job waits until a damaged result is computed again; `inherited`: printed for another job."""
        self.workspace.path("progress", f"{job.key}.json").unlink(missing_ok=True)
        self.parts.pop(job.key, None)
        if not inherited:
            self._print(job.kind, f"{job.title} found damage: {failure.message}")

    def finished(self, job: Job, failure: HasMessage | None, *, inherited: bool = False) -> None:
        """Note that a job is done or has failed; `inherited` failures were printed for a job that this one needs."""
        self.workspace.path("progress", f"{job.key}.json").unlink(missing_ok=True)
        self.parts.pop(job.key, None)
        self.done[job.kind] += 1
        seconds = time.monotonic() - self.begun.get(job.key, time.monotonic())
        if failure and not inherited:
            self._print(job.kind, f"FAILED {job.title}: {failure.message}")
        elif not failure and not self.live:
            self._print(job.kind, f"{job.title} ({seconds:.1f} s){self._time_left(job.kind)}")
        self._draw(job.kind)

    def _print(self, kind: RecipeKind, what: str) -> None:
        self.printed_at = time.monotonic()
        self.log(f"{STAGES[kind]} {self.done[kind]:.0f}/{self.totals[kind]}: {what}")

    def _part(self, job: Job, part: float) -> None:
        self.parts[job.key] = part
        self.kinds[job.key] = job.kind
        self._draw(job.kind)

    def _draw(self, kind: RecipeKind) -> None:
        if self.live:
            self.live.draw(kind, self._fraction(kind) * self.totals[kind])

    def _fraction(self, kind: RecipeKind) -> float:
        running = sum(part for key, part in self.parts.items() if self.kinds[key] == kind)
        return (self.done[kind] + running) / self.totals[kind]

    def _time_left(self, kind: RecipeKind) -> str:
        """Return ", about 2 min left in this stage" at its pace so far, "" if that is unknown."""
        fraction = self._fraction(kind)
        if not 0 < fraction < 1:
            return ""
        seconds = (time.monotonic() - self.since.get(kind, time.monotonic())) * (1 - fraction) / fraction
        return f", about {_duration(seconds)} left in this stage"


class _Live:
    """One progress bar for each stage, drawn by rich on standard error."""

    def __init__(self, totals: dict[RecipeKind, int]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns: list[Any] = [
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]
        self.bars = Bars(*columns, console=Console(stderr=True))
        order = [kind for kind in STAGES if kind in totals]
        self.tasks = {kind: self.bars.add_task(STAGES[kind], total=totals[kind], start=False) for kind in order}

    def start(self) -> None:
        self.bars.start()

    def stop(self) -> None:
        self.bars.stop()

    def draw(self, kind: RecipeKind, completed: float) -> None:
        task = self.tasks[kind]
        if not self.bars.tasks[task].started:
            self.bars.start_task(task)
        self.bars.update(task, completed=completed)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
