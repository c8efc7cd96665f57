"""The local backend: single-threaded worker processes on this machine, or this process itself."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from sg_bench.data.sources.base import Case
from sg_bench.planning import Job
from sg_bench.running.environment import free_memory, single_threaded
from sg_bench.running.failures import Failure
from sg_bench.running.progress import reporter
from sg_bench.running.schedule import Unit
from sg_bench.running.stages.dispatch import attempt
from sg_bench.workspace import Workspace

ORPHAN_SECONDS = 1.0
"""How often a worker process looks whether its parent is still there."""


class InProcess:
    """Runs every unit in this process, at once: for debugging, tests and machines of one core."""

    slots = 1
    one_machine = True

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Run a unit to its end."""
        future: Future[Failure | None] = Future()
        future.set_result(work(unit.job, self.workspace.root, unit.cases))
        return future

    def failure(self, error: Exception) -> Failure:
        """Describe an error."""
        return Failure.of(error)

    def close(self) -> None:
        """Do nothing."""


class WorkerProcesses:
    """Runs units in processes that end with the run, also if the run is killed.

    Args:
        workspace: of the results.
        jobs: how many processes.
    """

    one_machine = True

    def __init__(self, workspace: Workspace, jobs: int) -> None:
        self.workspace, self.slots = workspace, jobs
        self.pool = self._started()

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit in a free process; after one of them was killed, all are replaced first."""
        try:
            return self.pool.submit(work, unit.job, self.workspace.root, unit.cases)
        except BrokenProcessPool:
            self.pool = self._started()
            return self.pool.submit(work, unit.job, self.workspace.root, unit.cases)

    def failure(self, error: Exception) -> Failure:
        """Describe an error; that of a killed process is raised for all units that ran, whichever it was."""
        if isinstance(error, BrokenProcessPool):
            message = "a worker process was killed, most likely for lack of memory. Free memory, or use fewer --jobs"
            return Failure("infrastructure", "WorkerDied", message, "", transient=True)
        return Failure.of(error)

    def close(self) -> None:
        """End the processes, also in the middle of a unit."""
        processes = list((self.pool._processes or {}).values())
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.join()

    def _started(self) -> ProcessPoolExecutor:
        os.environ.update(single_threaded())
        return ProcessPoolExecutor(
            self.slots, mp_context=get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),)
        )


def work(job: Job, root: Path, cases: tuple[Case, ...] = ()) -> Failure | None:
    """Run one unit in this process."""
    workspace = Workspace(root)
    failure = attempt(job, workspace, reporter(workspace, job.key), cases)
    if failure and failure.transient:
        free_memory()
    return failure


def end_with_parent(parent: int) -> None:
    """Let this process end soon after its parent, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
