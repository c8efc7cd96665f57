"""The local backend: single-threaded worker processes on this machine and its GPUs, or this process itself."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from sg_bench.data.sources.base import Case
from sg_bench.planning import Job
from sg_bench.running.environment import free_memory, single_threaded
from sg_bench.running.failures import Failure
from sg_bench.running.interrupts import uninterrupted
from sg_bench.running.memory import measured_mib, needs_card
from sg_bench.running.packing import Card, CardLoad, choose_card
from sg_bench.running.progress import reporter
from sg_bench.running.schedule import Unit
from sg_bench.running.stages.discover import Share
from sg_bench.running.stages.dispatch import attempt
from sg_bench.workspace import Workspace

ORPHAN_SECONDS = 1.0
"""How often a worker asks whether the run is still there, where the system cannot notify it."""


class InProcess:
    """Runs every unit in this process, at once: for debugging, tests and machines of one core."""

    slots = 1
    one_machine = True

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Run a unit to its end."""
        future: Future[Failure | None] = Future()
        future.set_result(work(unit.job, self.workspace.location, unit.cases, unit.share))
        return future

    def fits(self, unit: Unit, running: Collection[Unit]) -> bool:
        """Return whether nothing else runs."""
        return not running

    def failure(self, error: Exception) -> Failure:
        """Describe an error."""
        return Failure.of(error)

    def close(self) -> None:
        """Do nothing."""


class WorkerProcesses:
    """Runs units in processes that end with the run, also if the run is killed.

    A process that trains sees one GPU only, and every other one none. Where there is no GPU, or none that is known, all
    processes are alike.

    Args:
        workspace: of the results.
        jobs: how many processes may compute at once.
        cards: the GPUs to use.
    """

    one_machine = True

    def __init__(self, workspace: Workspace, jobs: int, cards: Sequence[Card] = ()) -> None:
        self.workspace, self.slots, self.cards = workspace, jobs, cards
        self.on_cpu = _Processes(jobs, "" if cards else None)
        self.on_cards = [_Processes(jobs, card.id) for card in cards]
        self.placed: dict[Future[Failure | None], tuple[int, Unit]] = {}

    def fits(self, unit: Unit, running: Collection[Unit]) -> bool:
        """Return whether there are processes for a unit, and it needs no GPU or one has the memory for it."""
        taken = sum(other.job.workers for other in running)
        if taken and taken + unit.job.workers > self.slots:
            return False
        return not self._on_card(unit) or self._card(unit) is not None

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit that fits in a free process, on the GPU with most memory left if it needs one."""
        number = self._card(unit) if self._on_card(unit) else None
        processes = self.on_cpu if number is None else self.on_cards[number]
        future = processes.submit(unit, self.workspace.location)
        if number is not None:
            self.placed[future] = (number, unit)
        return future

    def failure(self, error: Exception) -> Failure:
        """Describe an error; that of a killed process is raised for all units that ran, whichever it was."""
        if isinstance(error, BrokenProcessPool):
            message = "a worker process was killed, most likely for lack of memory. Free memory, or use fewer --jobs"
            return Failure("infrastructure", "WorkerDied", message, "", transient=True)
        return Failure.of(error)

    def close(self) -> None:
        """End the processes, also in the middle of a unit."""
        for processes in (self.on_cpu, *self.on_cards):
            processes.close()

    def loads(self) -> list[CardLoad]:
        """Return what runs on each GPU; memory that was measured meanwhile counts."""
        self.placed = {future: place for future, place in self.placed.items() if not future.done()}
        running: list[list[float | None]] = [[] for _ in self.cards]
        for number, unit in self.placed.values():
            running[number].append(measured_mib(self.workspace, self.cards[number].name, unit.job.recipe))
        return [
            CardLoad(card.free_mib, tuple(peaks), processes.count)
            for card, peaks, processes in zip(self.cards, running, self.on_cards, strict=True)
        ]

    def _on_card(self, unit: Unit) -> bool:
        return bool(self.cards) and not unit.cases and needs_card(unit.job.recipe)

    def _card(self, unit: Unit) -> int | None:
        """Return the GPU for a unit, by the largest of its measurements where the cards are of several kinds."""
        names = {card.name for card in self.cards}
        peaks = [measured_mib(self.workspace, name, unit.job.recipe) for name in names]
        return choose_card(max((peak for peak in peaks if peak is not None), default=None), self.loads())


class _Processes:
    """Worker processes that see the same devices; they start when they are needed.

    Args:
        most: how many there are at once.
        visible: their CUDA_VISIBLE_DEVICES; None leaves it as it is.
    """

    def __init__(self, most: int, visible: str | None) -> None:
        self.most, self.visible = most, visible
        self.pool = self._started()

    @property
    def count(self) -> int:
        """Return the number of processes that were started."""
        return len(self.pool._processes or {})

    def submit(self, unit: Unit, location: str) -> Future[Failure | None]:
        """Start a unit in a free process; after one of them was killed, all are replaced first."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a new process keeps it: Ctrl-C is ours
        with uninterrupted():
            try:
                return self.pool.submit(work, unit.job, location, unit.cases, unit.share)
            except BrokenProcessPool:
                self.pool = self._started()
                return self.pool.submit(work, unit.job, location, unit.cases, unit.share)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def close(self) -> None:
        """End the processes."""
        processes = list((self.pool._processes or {}).values())
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.join()

    def _started(self) -> ProcessPoolExecutor:
        return start_processes(self.most, self.visible)


def start_processes(most: int, visible: str | None = None) -> ProcessPoolExecutor:
    """Return single-threaded processes that end with this one; `visible` as in `_Processes`.

    They are forked from one that has imported torch and nothing more, so they start at once.
    """
    os.environ.update(single_threaded())
    context = get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    return ProcessPoolExecutor(most, mp_context=context, initializer=_prepare, initargs=(os.getpid(), visible))


def _prepare(driver: int, visible: str | None) -> None:
    """Let this worker process end with the run, and see only the GPUs that it is given."""
    end_with(driver)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible


def work(job: Job, location: Path | str, cases: tuple[Case, ...] = (), share: Share | None = None) -> Failure | None:
    """Run one unit in this process."""
    workspace = Workspace(location)
    failure = attempt(job, workspace, reporter(workspace, job.key), cases, share)
    if failure and failure.transient:
        free_memory()
    return failure


def end_with(process: int) -> None:
    """Let this process end as soon as another one has ended, even if that was killed.

    Args:
        process: id of the other one, which need not be the parent: that of a forked worker is the server of forks.
    """

    def watch() -> None:
        with suppress(ProcessLookupError):  # it has ended
            _await_end(process)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _await_end(process: int) -> None:
    """Return when a process has ended.

    Raises:
        ProcessLookupError: likewise, where only asking again and again can find that out.
    """
    try:
        select.select([os.pidfd_open(process)], [], [])
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):  # an old kernel or Python, or a container that forbids the call
        while True:
            os.kill(process, 0)
            time.sleep(ORPHAN_SECONDS)
