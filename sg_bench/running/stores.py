"""Building the stores of one data set, or only reading its cases: in parallel, resumable, damaged cases left out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from sg_bench.data.catalogue import data_set_uses
from sg_bench.data.contents import LabelCounts, label_counts
from sg_bench.data.notes import study_notes
from sg_bench.data.sources.base import Case, Problem, Source
from sg_bench.data.store import SkippedCase, Store, has_case, skipped_cases
from sg_bench.errors import DataError, SgBenchError, UsageError, did_you_mean
from sg_bench.machine import available_cores
from sg_bench.planning import TypedJob, is_built, plan
from sg_bench.recipes import StoreRecipe
from sg_bench.registry import SOURCES
from sg_bench.running.environment import single_threaded
from sg_bench.running.failures import Failure
from sg_bench.running.local import InProcess, WorkerProcesses, end_with
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Scheduler
from sg_bench.running.stages.prepare import cases_of
from sg_bench.suite import Suite, data_sources, load_suite
from sg_bench.tasks import is_path, read_yaml
from sg_bench.workspace import Workspace

LOG_SECONDS = 30.0
"""Seconds between two lines of progress while cases are read."""


@dataclass(frozen=True)
class StoreResult:
    """The result of building one store."""

    path: Path
    cases: int
    """Cases in the store."""
    new: int
    """Cases of the store that were prepared just now."""
    skipped: list[SkippedCase]
    seconds: float
    """0 if there was nothing to do."""
    megabytes: float
    """Size of the source files of the new cases, in 10^6 bytes."""
    failure: Failure | None = None


@dataclass
class CasesRead:
    """What reading every case of a data set shows."""

    problems: list[Problem] = field(default_factory=list)
    """One for each case that cannot be read."""
    counts: dict[str, LabelCounts] = field(default_factory=dict)
    """Voxels of each label value but 0, of each case with a label map that can be read."""
    notes: list[Problem] = field(default_factory=list)
    """Warnings of what is doubtful about cases that can be read."""


def store_jobs(name: str, root: Path | None, suite: str = "") -> list[TypedJob[StoreRecipe]]:
    """Return the jobs that build every store of one data set: those of `suite`, or of all built-in task cards.

    Args:
        name: of the data set, as in `--data`, or of its source.
        root: its folder, None for a source that reads none.
        suite: a built-in suite's name or a .yaml file.

    Raises:
        UsageError: no task card and no corpus of the suite uses that name.
        DataError: the folder holds nothing usable.
    """
    chosen = load_suite(suite) if suite else _every_task(name)
    names = [each for each, source in data_sources(chosen).items() if is_path(name) or name in (each, source)]
    if not names:
        hint = did_you_mean(name, data_sources(chosen))
        raise UsageError(f"suite {suite}: it uses no data '{name}'", hint=hint)
    found = plan(chosen, dict.fromkeys(names, root.resolve()) if root else {})
    jobs = [job for job in found.of_kind("store") if job.title in {f"prepare {each}" for each in names}]
    if not jobs:
        reasons = [cell.missing for cell in found.cells if cell.missing]
        raise DataError(found.with_paths(reasons[0]) if reasons else f"'{name}': the suite makes no store of it")
    return jobs


def prepare_store(
    job: TypedJob[StoreRecipe],
    workspace: Workspace,
    *,
    jobs: int | None = None,
    log: Callable[[str], None],
    terminal: bool = False,
) -> StoreResult:
    """Build one store, or only try the cases again that a finished one left out."""
    final = workspace.path("stores", job.key)
    if is_built(workspace, job) and not skipped_cases(final):
        return StoreResult(final, len(Store.open(final)), 0, [], 0.0, 0.0)
    started, cases = time.monotonic(), cases_of(job)
    folder = final if is_built(workspace, job) else workspace.partial("stores", job.key)
    before = {case.id for case in cases if has_case(folder, case.id)}
    slots = min(jobs or available_cores(), max(1, len(cases) - len(before)))
    backend = InProcess(workspace) if slots == 1 else WorkerProcesses(workspace, slots)
    try:
        with Progress([job], workspace, log, terminal=terminal) as progress:
            failure = Scheduler([job], backend, workspace, progress).run().failures.get(job.key)
    finally:
        backend.close()
    seconds = time.monotonic() - started
    if failure:
        return StoreResult(final, 0, 0, [], seconds, 0.0, failure)
    store = Store.open(final)
    new = [case for case in cases if case.id in store and case.id not in before]
    return StoreResult(final, len(store), len(new), store.skipped, seconds, megabytes(new))


def read_cases(source: Source, cases: list[Case], *, jobs: int | None, log: Callable[[str], None]) -> CasesRead:
    """Load every case, and return what is wrong and which label values there are, in the order of `cases`."""
    found = CasesRead()
    last = time.monotonic()
    for done, (case, content) in enumerate(_read(source, cases, jobs or available_cores()), 1):
        if content.reason:
            found.problems.append(Problem(case.id, content.reason))
        elif content.counts is not None:
            found.counts[case.id] = content.counts
        found.notes += [Problem(case.id, note, warning=True) for note in content.notes]
        if time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            log(f"read {done}/{len(cases)}, {len(found.problems)} damaged")
    return found


def megabytes(cases: list[Case]) -> float:
    """Return the size of the cases' files in 10^6 bytes."""
    return sum(path.stat().st_size for case in cases for path in case.files()) / 1e6


def _every_task(name: str) -> Suite:
    """Return a suite of all built-in tasks that use a data set; only its stores are planned."""
    if is_path(name):
        content = {"name": "data", "corpora": {}, "methods": ["scratch"], "tasks": [str(Path(name).resolve())]}
        return load_suite(name) if "kind" not in read_yaml(Path(name)) else Suite.model_validate(content)
    known = [use for use in data_set_uses() if use.task]
    tasks = [use.task for use in known if name in (use.name, use.source)]
    if not tasks:
        hint = f"Name a suite that uses it with --suite, or one of {', '.join(sorted({use.name for use in known}))}"
        raise UsageError(f"no built-in task uses data '{name}'", hint=hint)
    return Suite.model_validate({"name": "data", "corpora": {}, "methods": ["scratch"], "tasks": tasks})


class _CaseContent(NamedTuple):
    """What reading one case shows."""

    reason: str
    """Why it cannot be read; "" if it can."""
    counts: LabelCounts | None = None
    """Voxels of each label value; None without a label map."""
    notes: tuple[str, ...] = ()


def _read(source: Source, cases: list[Case], jobs: int) -> Iterator[tuple[Case, _CaseContent]]:
    """Yield each case with what reading it shows."""
    state = _SourceState(source.name, source.config.model_dump_json(), source.root)
    if jobs == 1 or len(cases) < 2:
        yield from ((case, _content(state, case)) for case in cases)
        return
    os.environ.update(single_threaded())
    context = get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(cases)), mp_context=context, initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        waiting = [pool.submit(_content, state, case) for case in cases]
        try:
            yield from ((case, future.result()) for case, future in zip(cases, waiting, strict=True))
        except BrokenProcessPool:
            raise SgBenchError("a process that read cases died", hint="Free memory, or use fewer --jobs") from None


class _SourceState(NamedTuple):
    """What a process opens a source by."""

    name: str
    config: str
    root: Path | None


@lru_cache(maxsize=1)
def _opened(state: _SourceState) -> Source:
    source: Source = SOURCES.load(state.name)(SOURCES.config(state.name).model_validate_json(state.config), state.root)
    return source


def _content(state: _SourceState, case: Case) -> _CaseContent:
    try:
        study = _opened(state).load(case)
    except DataError as error:
        return _CaseContent(str(error))
    counts = None if study.label is None else label_counts(study.label)
    return _CaseContent("", counts, study_notes(case, study))
