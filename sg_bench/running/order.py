"""The order in which jobs are started, decided before any of them runs. Pure functions of jobs."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from sg_bench.config import Training
from sg_bench.planning import Job
from sg_bench.planning.makespan import PRIORITY
from sg_bench.recipes import CellRecipe, PretrainingRecipe, Recipe


def start_order(jobs: Iterable[Job]) -> dict[str, tuple[int, int]]:
    """Return each job's priority and place, by key; jobs start in the order of these pairs.

    Initialisations that a discovery needs come first, because most other jobs wait for it. Long jobs start before short
    ones, so that the last ones to end are short. Cells that share images and weights are next to each other, so that
    one process loads them once: the group with the longest cell starts first.
    """
    jobs = list(jobs)
    for_discovery = {key for job in jobs if job.kind == "patterns" for key in job.needs}
    efforts = {job.key: effort(job.recipe) for job in jobs}
    longest: dict[tuple[str, ...], float] = {}
    for job in jobs:
        longest[_shared(job)] = max(longest.get(_shared(job), 0.0), efforts[job.key])

    def rank(job: Job) -> tuple[int, float, tuple[str, ...], float]:
        group = _shared(job)
        return _priority(job, for_discovery), -longest[group], group, -efforts[job.key]

    return {job.key: (rank(job)[0], place) for place, job in enumerate(sorted(jobs, key=rank))}


def effort(recipe: Recipe) -> float:
    """Return an estimate of a training's work, to compare jobs of one kind; 0 for everything else.

    It is steps x samples in a step x voxels that the network sees x its width squared; a training that may stop early
    counts in full.
    """
    if isinstance(recipe, CellRecipe):
        if recipe.task.probe:
            return 0.0
        cases = recipe.store.manifest.cases * recipe.task.fraction
        width = recipe.initialisation.config.width
        return _steps(recipe.task.training, cases) * prod(recipe.task.sampling.patch) * width**2
    if isinstance(recipe, PretrainingRecipe) and recipe.corpus is not None:
        return _steps(recipe.config.training, recipe.corpus.store.manifest.cases) * recipe.config.width**2
    return 0.0


def _steps(training: Training, cases: float) -> float:
    """Return the samples that a training sees, up to a factor that is the same for a data set."""
    an_epoch = training.steps_per_epoch or cases / training.batch_size
    steps = training.epochs * an_epoch
    return min(steps, training.steps or steps) * training.batch_size


def _priority(job: Job, for_discovery: set[str]) -> int:
    first = job.kind == "initialisation" and job.key in for_discovery
    return PRIORITY["patterns"] if first else PRIORITY[job.kind]


def _shared(job: Job) -> tuple[str, ...]:
    """Return the keys of the images and weights that a cell is computed from; () for other jobs."""
    if not isinstance(job.recipe, CellRecipe):
        return ()
    return job.recipe.store.key, job.recipe.initialisation.key
