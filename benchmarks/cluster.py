"""What Ray costs: cells that compute nothing, and devices that idle while jobs of unequal length run.

    python -m benchmarks.cluster cells 1000
    python -m benchmarks.cluster idle

Both go through the real scheduler and a real cluster on this machine, with two processors.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sg_bench.planning import Job
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Scheduler
from sg_bench.workspace import Workspace

SLOTS = 2
PRETRAININGS = (24.0, 12.0, 6.0, 3.0)
"""Seconds of each pretraining."""
CELLS = 10
"""Cells of each pretraining."""
CELL_SECONDS = 1.0


def main(what: str, count: str = "1000") -> None:
    """Run one benchmark and print its figures."""
    if what == "cells":
        no_op_cells(int(count))
    else:
        idle_devices()


def no_op_cells(count: int) -> None:
    """Run cells of no known kind, for which nothing is computed."""
    run([_job("cell", f"{number:064}") for number in range(count)])


def idle_devices() -> None:
    """Run pretrainings of unequal length and their cells, all of which sleep."""
    jobs = []
    for number, seconds in enumerate(PRETRAININGS):
        first = _job("initialisation", f"{number:064}", seconds=seconds)
        cells = [_job("cell", f"{number}{cell:063}", first.key, seconds=CELL_SECONDS) for cell in range(CELLS)]
        jobs += [first, *cells]
    busy = sum(PRETRAININGS) + CELL_SECONDS * CELLS * len(PRETRAININGS)
    seconds = run(jobs)
    print(f"{busy:.0f} s of work on {SLOTS} processors in {seconds:.1f} s: idle {1 - busy / SLOTS / seconds:.0%}")


def run(jobs: list[Job]) -> float:
    """Run jobs on a new cluster; return the seconds without its start and end."""
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
    return seconds


class _Sleep:
    """A recipe for which nothing is computed; asking for its description takes a while."""

    def __init__(self, kind: str, key: str, seconds: float) -> None:
        self.kind, self.key, self.seconds = kind, key, seconds

    def key_content(self) -> dict[str, Any]:
        return {}


def _job(kind: str, key: str, *needs: str, seconds: float = 0.0) -> Job:
    recipe: Any = SimpleNamespace(kind=kind, key=key, key_content=dict)
    if seconds:
        recipe = _Sleep(kind, key, seconds)
    return Job(recipe, needs, key)


if __name__ == "__main__":
    main(*sys.argv[1:])
