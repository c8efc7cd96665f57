"""What Ray costs: cells that compute nothing, and devices that idle while jobs of unequal length run.

    python -m benchmarks.cluster cells 1000
    python -m benchmarks.cluster idle
    python -m benchmarks.cluster share 2

All go through the real scheduler, the first through a real cluster on this machine. In the second and third jobs sleep
in threads; the third is of runs that share a workspace, each with one process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sg_bench.ledger import Ledger
from sg_bench.planning import Job
from sg_bench.running.failures import Failure
from sg_bench.running.local import InProcess
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Scheduler, Unit
from sg_bench.workspace import LockedElsewhere, Workspace

SLOTS = 2
"""Processors of the cluster."""
DEVICES = 4
"""On which jobs sleep."""
PRETRAININGS = (24.0, 12.0, 6.0, 3.0)
"""Seconds of each pretraining."""
CELLS = 10
"""Cells of each pretraining."""
CELL_SECONDS = 1.0
SHARED, SHARED_SECONDS = 60, 0.5
"""Cells of several runs that share a workspace, and the seconds of each."""


def main(what: str, count: str = "1000") -> None:
    """Run one benchmark and print its figures."""
    if what == "cells":
        no_op_cells(int(count))
    elif what == "idle":
        idle_devices()
    else:
        shared_work(int(count))


def no_op_cells(count: int) -> None:
    """Run cells of no known kind, for which nothing is computed."""
    run([_job("cell", f"{number:064}") for number in range(count)])


def idle_devices() -> None:
    """Run pretrainings of unequal length and their cells, all of which sleep."""
    jobs = []
    for number, seconds in enumerate(PRETRAININGS):
        first = _job("initialisation", f"first{number}", seconds=seconds)
        cells = [_job("cell", f"{number}{cell:063}", first.key, seconds=CELL_SECONDS) for cell in range(CELLS)]
        jobs += [first, *cells]
    with tempfile.TemporaryDirectory() as folder:
        workspace, backend = Workspace(folder), _Threads(DEVICES)
        began = time.monotonic()
        Scheduler(jobs, backend, workspace, Progress(jobs, workspace, lambda line: None, terminal=False)).run()
        seconds = time.monotonic() - began
    busy = sum(PRETRAININGS) + CELL_SECONDS * CELLS * len(PRETRAININGS)
    print(f"{busy:.0f} s of work on {DEVICES} devices in {seconds:.1f} s: idle {1 - busy / DEVICES / seconds:.0%}")


class _Threads:
    """Sleeps in threads, one for each device."""

    one_machine = False

    def __init__(self, slots: int) -> None:
        self.slots, self.pool = slots, ThreadPoolExecutor(slots)

    def fits(self, unit: Unit, running: Collection[Unit]) -> bool:
        return len(running) < self.slots

    def submit(self, unit: Unit) -> Future[Failure | None]:
        return self.pool.submit(sleep, unit.job)

    def failure(self, error: Exception) -> Failure:
        return Failure.of(error)


def shared_work(runs: int) -> None:
    """Let several runs begin at once on one workspace."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(runs, get_context("spawn")) as pool:
        list(pool.map(_job, ["cell"] * runs, ["imports"] * runs))
        began = time.monotonic()
        computed = list(pool.map(_share, [folder] * runs))
        seconds = time.monotonic() - began
    print(f"{runs} runs: {SHARED} cells of {SHARED_SECONDS} s in {seconds:.1f} s; each computed {computed}")


def _share(folder: str) -> int:
    jobs = [_job("cell", f"{number:064}", seconds=SHARED_SECONDS) for number in range(SHARED)]
    backend, workspace = _Sleeping(Workspace(folder)), Workspace(folder)
    outcome = Scheduler(jobs, backend, workspace, Progress(jobs, workspace, lambda line: None, terminal=False)).run()
    assert len(outcome.done) == SHARED
    return backend.computed


class _Sleeping(InProcess):
    """Sleeps for each cell, and records it."""

    computed = 0

    def submit(self, unit: Unit) -> Future[Failure | None]:
        future: Future[Failure | None] = Future()
        try:
            with self.workspace.lock(unit.job.key, wait=False):
                if not Ledger(self.workspace).done(unit.job.key):
                    sleep(unit.job)
                    record = {"key": unit.job.key, "status": "done", "recipe": {}, "metrics": {}}
                    Ledger(self.workspace).put({**record, "cases": [], "curves": []})
                    self.computed += 1
            future.set_result(None)
        except LockedElsewhere as error:
            future.set_result(Failure.of(error))
        return future


def run(jobs: list[Job]) -> None:
    """Run jobs on a new cluster; print the seconds without its start and end."""
    from sg_bench.running.cluster.backend import RayBackend

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        backend = RayBackend(workspace, "local", SLOTS)
        try:
            began = time.monotonic()
            with Progress(jobs, workspace, lambda line: None, terminal=False) as progress:
                outcome = Scheduler(jobs, backend, workspace, progress).run()
            seconds = time.monotonic() - began
        finally:
            backend.close()
    assert len(outcome.done) == len(jobs), outcome.failures
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(jobs)} jobs: {seconds:.1f} s, {seconds / len(jobs):.4f} s each; the driver took {rss:.0f} MB at most")


def sleep(job: Job) -> None:
    """Stand in for a job."""
    time.sleep(job.recipe.seconds)  # type: ignore[union-attr]


def _job(kind: str, key: str, *needs: str, seconds: float = 0.0) -> Job:
    recipe: Any = SimpleNamespace(kind=kind, key=key, key_content=dict, seconds=seconds)
    return Job(recipe, needs, key)


if __name__ == "__main__":
    main(*sys.argv[1:])
