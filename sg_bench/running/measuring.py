"""`plan --measure`: makes a trial run of each kind of job, in as many processes as a run would use."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import cast

from sg_bench.machine import available_cores
from sg_bench.planning import (
    STAGES,
    START,
    Job,
    Measurement,
    TypedJob,
    cost_name,
    hardware_name,
    keep_measurement,
    shown_duration,
)
from sg_bench.recipes import CellRecipe, DiscoveryRecipe, PretrainingRecipe, StoreRecipe
from sg_bench.running.environment import describe_environment
from sg_bench.workspace import Workspace

KILLED = "its process was killed, most likely for lack of memory; use fewer --jobs"
Found = tuple[str, Measurement | str]
"""The name of the hardware, and the measurement or why there is none."""


def measure(
    jobs: Sequence[Job], workspace: Workspace, *, processes: int | None = None, log: Callable[[str], None] = print
) -> list[str]:
    """Measure the costs of `jobs`, one of each kind of settings, and keep them in the workspace.

    Args:
        jobs: stores first, as in a plan.
        workspace: its finished stores are used; nothing else is read or changed.
        processes: trial runs at once, as many as a run will have processes; None takes the machine's cores.
        log: prints a line for each measurement.

    Returns:
        One line for each job that could not be measured.
    """
    from sg_bench.running.local import start_processes

    count, failed = processes or available_cores(), list[str]()
    with tempfile.TemporaryDirectory(prefix="sg-bench-trial-") as folder:
        for stores in (True, False):  # what is computed from stores needs those that the first trial runs make
            pool = start_processes(count)
            try:
                if stores:
                    _measure_start(pool, workspace)
                chosen = [job for job in jobs if (job.kind == "store") == stores]
                failed += _measure_all(pool, chosen, workspace, Path(folder), log)
            finally:
                pool.shutdown(cancel_futures=True)
    return failed


def _measure_start(pool: ProcessPoolExecutor, workspace: Workspace) -> None:
    """Measure how long a process takes to start, and to import what every job needs."""
    began = time.perf_counter()
    hardware = pool.submit(_started).result()
    found = Measurement(first_seconds=time.perf_counter() - began)
    keep_measurement(workspace, hardware, START, found, "start of a process")


def _measure_all(
    pool: ProcessPoolExecutor, jobs: Sequence[Job], workspace: Workspace, folder: Path, log: Callable[[str], None]
) -> list[str]:
    running: dict[Future[Found], Job] = {pool.submit(measure_job, job, workspace.root, folder): job for job in jobs}
    failed = []
    for number, future in enumerate(as_completed(running), start=1):
        job = running[future]
        try:
            hardware, found = future.result()
        except BrokenProcessPool:
            hardware, found = "", KILLED
        if isinstance(found, str):
            failed.append(f"{job.title} could not be measured: {found}")
            continue
        keep_measurement(workspace, hardware, cost_name(job.recipe), found, job.title)
        log(f"measure {number}/{len(jobs)}: {STAGES[job.kind]}: {job.title}: {_shown(job, found)}")
    return failed


def measure_job(job: Job, root: Path, scratch: Path) -> Found:
    """Measure one job in this process; nothing is written but into `scratch`."""
    from sg_bench.running import trial_runs
    from sg_bench.running.environment import configure_torch

    configure_torch()
    hardware, workspace = _started(), Workspace(root)
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        place = Workspace(own)
        place.path("stores").symlink_to(_stores(scratch))
        try:
            match job.recipe:
                case StoreRecipe():
                    return hardware, trial_runs.measure_store(cast(TypedJob[StoreRecipe], job), workspace, place)
                case CellRecipe() as recipe:
                    return hardware, trial_runs.measure_cell(recipe, workspace, place)
                case PretrainingRecipe() as recipe:
                    return hardware, trial_runs.measure_pretraining(recipe, workspace, place)
                case DiscoveryRecipe() as recipe:
                    return hardware, trial_runs.measure_discovery(recipe, workspace, place)
        except Exception as error:  # one that fails must not stop the others; the run will report it better
            return hardware, " ".join(str(error).split()) or type(error).__name__


def _stores(scratch: Path) -> Path:
    """Return the folder of the stores that all trial runs share."""
    folder = scratch / "stores"
    folder.mkdir(exist_ok=True)
    return folder


def _started() -> str:
    return hardware_name(describe_environment()["hardware"])


def _shown(job: Job, found: Measurement) -> str:
    if found.step_seconds:
        return f"{1000 * found.step_seconds:.0f} ms a step"
    if found.case_seconds:
        return f"{1000 * found.case_seconds:.0f} ms a case"
    return shown_duration(found.job_seconds)
