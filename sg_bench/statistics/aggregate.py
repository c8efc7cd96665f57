"""Aggregates across tasks: interquartile mean and probability of improvement, with bootstrap intervals.

With few tasks, ranks have little power, and a mean depends on single tasks. The interquartile mean of all scores and
the probability that a run of one method scores higher than a run of another use all values.

Source: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (NeurIPS 2021), section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.statistics.samples import FloatArray

TaskScores = Sequence[Sequence[float]]
"""Tasks x units, scores as fractions in [0, 1]; tasks may differ in their number of units."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Aggregate:
    """A statistic across tasks with its bootstrap percentile interval."""

    value: float
    low: float
    high: float
    level: float


def iqm_interval(
    scores: Mapping[str, TaskScores],
    *,
    relative_to: str | None = None,
    shared_units: bool = False,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Aggregate]:
    """Return each method's interquartile mean over the scores of all tasks.

    Units are drawn with replacement within each task. All scores have equal weight, so a task with fewer units has
    less. The interval refers to other units on these tasks, not to other tasks. With few units it is too short, as
    percentile intervals are: the coverage of a 95 % interval is 85 % at n = 5, 90 % at n = 10 and 94 % at n = 30.

    Args:
        scores: by method; the tasks of all methods in the same order.
        relative_to: None for unchanged scores. Else a method with mean m on a task: a score s becomes
            (s - m) / (1 - m), so 0 is as good as that method and 1 is perfect. The method is resampled like the others.
        shared_units: whether equal positions in all tasks are one unit, such as a pretraining seed that all tasks start
            from; then a unit is drawn with all of its tasks, because they are correlated. If such units are drawn
            separately and half of their variance is shared, the coverage falls to 77, 85 and 88 %.
        resamples: number of bootstrap samples.
        level: of the interval.
        seed: of the resampling; equal seeds give equal intervals.

    Raises:
        ValueError: a task without scores, unequal tasks, an unknown `relative_to`, or one that is perfect on a task.
    """
    _check(scores, shared_units=shared_units)
    if relative_to is not None and relative_to not in scores:
        raise ValueError(f"relative_to must be one of {', '.join(scores)}, not {relative_to!r}")
    rng = np.random.default_rng(seed)
    drawn = {method: _with_resamples(matrix, resamples, rng, shared_units) for method, matrix in scores.items()}
    if relative_to is not None:
        drawn = _relative(drawn, drawn[relative_to])
    middles = {method: _trimmed(np.concatenate(tasks, axis=1)) for method, tasks in drawn.items()}
    return {method: _aggregate(found, level) for method, found in middles.items()}


def probability_of_improvement(
    better: TaskScores,
    than: TaskScores,
    *,
    shared_units: bool = False,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Aggregate:
    """Return the probability that a run of one method scores higher than a run of another, averaged over tasks.

    On each task it is the fraction of pairs of units in which `better` is higher, ties counting one half. Arguments and
    Raises as `iqm_interval`.
    """
    _check({"better": better, "than": than}, shared_units=shared_units)
    rng = np.random.default_rng(seed)
    counts = [_with_counts(matrix, resamples, rng, shared_units) for matrix in (better, than)]
    chances = [
        np.einsum("bi,ij,bj->b", ours, _wins(a, b), theirs) / (len(a) * len(b))
        for a, b, ours, theirs in zip(better, than, *counts, strict=True)
    ]
    return _aggregate(np.mean(chances, axis=0), level)


def _wins(a: Sequence[float], b: Sequence[float]) -> FloatArray:
    difference = np.subtract.outer(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    return (np.sign(difference) + 1) / 2


def _draws(matrix: TaskScores, resamples: int, rng: np.random.Generator, shared: bool) -> list[NDArray[np.int64]]:
    """Return for each task the units in each resample; the first row contains each unit once."""
    indices: list[NDArray[np.int64]] = []
    for task in matrix:
        n = len(task)
        if not shared or not indices:
            indices.append(np.vstack([np.arange(n), rng.integers(n, size=(resamples, n))]))
        else:
            indices.append(indices[0])
    return indices


def _with_resamples(matrix: TaskScores, resamples: int, rng: np.random.Generator, shared: bool) -> list[FloatArray]:
    """Return for each task (1 + resamples, units) scores, with the measured ones in the first row."""
    drawn = _draws(matrix, resamples, rng, shared)
    return [np.asarray(task, dtype=np.float64)[places] for task, places in zip(matrix, drawn, strict=True)]


def _with_counts(matrix: TaskScores, resamples: int, rng: np.random.Generator, shared: bool) -> list[FloatArray]:
    """Return for each task (1 + resamples, units): counts of each unit, all 1 in the first row."""
    drawn = _draws(matrix, resamples, rng, shared)
    return [(places[:, :, None] == np.arange(places.shape[1])).sum(axis=1).astype(np.float64) for places in drawn]


def _relative(drawn: Mapping[str, list[FloatArray]], reference: list[FloatArray]) -> dict[str, list[FloatArray]]:
    means: list[FloatArray] = [task.mean(axis=1, keepdims=True) for task in reference]
    if any(mean[0, 0] >= 1 for mean in means):
        raise ValueError("a method that is perfect on a task cannot be the reference: use unchanged scores")
    # A resample may be perfect although the sample is not; the lower bound keeps the ratio finite.
    headroom: list[FloatArray] = [np.maximum(1 - mean, 1e-12) for mean in means]
    return {
        method: [(task - mean) / rest for task, mean, rest in zip(tasks, means, headroom, strict=True)]
        for method, tasks in drawn.items()
    }


def _trimmed(rows: FloatArray) -> FloatArray:
    """Return the interquartile mean of each row."""
    cut = rows.shape[1] // 4
    kept: FloatArray = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut]
    middle: FloatArray = kept.mean(axis=1)
    return middle


def _aggregate(found: FloatArray, level: float) -> Aggregate:
    """Return the first value with the percentile interval of the others."""
    low, high = np.quantile(found[1:], [(1 - level) / 2, (1 + level) / 2])
    return Aggregate(float(found[0]), float(low), float(high), level)


def _check(scores: Mapping[str, TaskScores], *, shared_units: bool) -> None:
    lengths: list[Any] = [[len(task) for task in matrix] for matrix in scores.values()]
    if len({len(tasks) for tasks in lengths}) > 1 or not all(lengths):
        raise ValueError("every method needs the same tasks, and at least one")
    if not all(min(tasks) for tasks in lengths):
        raise ValueError("a task without a score: omit the task for all methods, and state it")
    if shared_units and any(len(set(tasks)) > 1 for tasks in lengths):
        raise ValueError("shared units need as many units on every task")
