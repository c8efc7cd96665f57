"""Where the spread of a method's scores comes from: pretraining seed, fine-tuning seed, test cases. Never pooled.

A standard deviation over fine-tuning runs says nothing of another pretraining, and neither says anything of other
patients. Each source has its own number, in score units (fractions), or none and the reason why not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.statistics.units import Seeds

Floats = NDArray[np.float64]
CaseRow = Mapping[str, Any]
"""One row of a record's `cases`: a case's own metrics and counts, or its score and truth."""
RESAMPLES = 1000
AT_ONCE = 2_000_000
"""Weights, resamples x cases, that are held in memory at one time."""
POOLED: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "iou_bin": lambda both, predicted, true: both / (predicted + true - both),
    "dice_bin": lambda both, predicted, true: 2 * both / (predicted + true),
}
"""Metrics of all cases' voxels together, from the sums of their counts."""


@dataclass(frozen=True)
class SeedSpread:
    """Standard deviations between pretrainings and between fine-tunings of one pretraining."""

    pretraining: float | None
    fine_tuning: float | None
    notes: tuple[str, ...] = ()
    """Why a number is absent, or is nought."""


@dataclass(frozen=True)
class Sources:
    """The sources of one method's spread on one task, as standard deviations in score units."""

    pretraining: float | None
    """Of the score's expectation from one pretraining seed to another."""
    fine_tuning: float | None
    """From one fine-tuning seed to another, starting from the same pretraining."""
    test_cases: float | None
    """Of one run's score from one test set of this size to another: root mean square over the runs."""
    pretrainings: int
    runs: int
    notes: tuple[str, ...]
    """Why a number is absent, or is nought."""


def variance_sources(
    scores: Mapping[Seeds, float], cases: Mapping[Seeds, Sequence[CaseRow]], metric: str, *, seed: int = 0
) -> Sources:
    """Return how far a method's scores on a task spread, source by source.

    Args:
        scores: by (pretraining seed, fine-tuning seed), fractions in [0, 1]; any number of runs a pretraining.
        cases: the runs' rows of test cases by the same seeds; may be empty.
        metric: the name of what `scores` hold.
        seed: of the draws of test cases.
    """
    spread = seed_spread(scores)
    found = [case_deviation(rows, metric, seed=seed) for _, rows in sorted(cases.items())]
    known = [deviation for deviation in found if deviation is not None]
    notes = spread.notes if known else (*spread.notes, f"test cases: {metric} cannot be computed from the cases' rows")
    return Sources(
        spread.pretraining,
        spread.fine_tuning,
        math.sqrt(fmean(deviation**2 for deviation in known)) if known else None,
        len({pretraining for pretraining, _ in scores}),
        len(scores),
        notes,
    )


def seed_spread(scores: Mapping[Seeds, float]) -> SeedSpread:
    """Return the standard deviations between pretrainings and within them, by the one-way random-effects model.

    Method of moments: the mean square within estimates the fine-tuning variance; what the mean square between exceeds
    it by, over the effective runs a pretraining, the pretraining variance. An estimate below nought is given as 0.

    Source: Searle, Casella and McCulloch, Variance Components (1992), section 3.6 (unbalanced data).
    """
    groups = list(_groups(scores))
    runs, pretrainings = len(scores), len(groups)
    if pretrainings < 2:
        note = "pretraining: there is but one, so whatever is said is said about this checkpoint only"
        return SeedSpread(None, stdev(scores.values()) if runs > 1 else None, (note, *_single(runs)))
    if runs == pretrainings:
        return SeedSpread(None, None, ("seeds: one run a pretraining, so both sources are in one and cannot be told",))
    grand = fmean(scores.values())
    within = sum((score - fmean(group)) ** 2 for group in groups for score in group) / (runs - pretrainings)
    between = sum(len(group) * (fmean(group) - grand) ** 2 for group in groups) / (pretrainings - 1)
    effective = (runs - sum(len(group) ** 2 for group in groups) / runs) / (pretrainings - 1)
    variance = (between - within) / effective
    notes = ("pretraining: the estimate is below nought, given as 0",) if variance < 0 else ()
    return SeedSpread(math.sqrt(max(0.0, variance)), math.sqrt(within), notes)


def case_deviation(rows: Sequence[CaseRow], metric: str, *, resamples: int = RESAMPLES, seed: int = 0) -> float | None:
    """Return the standard deviation (ddof 1) of one run's score over bootstrapped test sets, or None.

    Images are drawn with replacement, each with all of its crops ("patient-3#0", "patient-3#1"), which are no
    independent cases. A draw for which the metric is undefined (no positive case) is left out.

    Args:
        rows: one a case, as a record holds them.
        metric: `auc`, a pooled metric of the counts, or one that each row holds.
        resamples: how many.
        seed: of the draws; equal seeds and images give equal draws, for every run and method.

    Returns:
        None with fewer than two images, or for a metric that the rows do not hold (`mean_iou_keras` needs voxels).
    """
    images = [str(row["case"]).rpartition("#")[0] or str(row["case"]) for row in rows]
    score = _scorer(rows, metric)
    if score is None or len(set(images)) < 2:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.concatenate([score(weights) for weights in _weights(tuple(images), resamples, seed)])
    found = found[np.isfinite(found)]
    return float(np.std(found, ddof=1)) if len(found) > 1 else None


def _groups(scores: Mapping[Seeds, float]) -> Iterator[list[float]]:
    for seed in sorted({pretraining for pretraining, _ in scores}):
        yield [score for (pretraining, _), score in sorted(scores.items()) if pretraining == seed]


def _single(runs: int) -> tuple[str, ...]:
    return () if runs > 1 else ("fine-tuning: there are not two runs",)


def _scorer(rows: Sequence[CaseRow], metric: str) -> Callable[[Floats], Floats] | None:
    """Return the function from (resamples, cases) weights to (resamples,) scores, if the rows suffice."""
    if metric == "auc" and all("score" in row for row in rows):
        return _auc_scorer(rows)
    if metric in POOLED and all("both" in row for row in rows):
        counts = np.array([[row["both"], row["predicted"], row["true"]] for row in rows], dtype=np.float64)
        return lambda weights: POOLED[metric](*(weights @ counts).T)
    if all(metric in row for row in rows):
        values = np.array([math.nan if row[metric] is None else row[metric] for row in rows], dtype=np.float64)
        defined = np.isfinite(values)
        return lambda weights: (weights[:, defined] @ values[defined]) / weights[:, defined].sum(axis=1)
    return None


def _auc_scorer(rows: Sequence[CaseRow]) -> Callable[[Floats], Floats]:
    scores, truths = (np.array([row[name] for row in rows], dtype=np.float64) for name in ("score", "truth"))
    columns = list(zip(scores.reshape(len(rows), -1).T, truths.reshape(len(rows), -1).T, strict=True))
    return lambda weights: np.mean([_weighted_auc(score, truth, weights) for score, truth in columns], axis=0)


def _weighted_auc(scores: Floats, truths: Floats, weights: Floats) -> Floats:
    """Return each resample's area under the ROC curve; ties count one half.

    Args:
        scores: (N,), any finite numbers.
        truths: (N,), 0 or 1.
        weights: (resamples, N): how often each case is drawn.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    positive = np.add.reduceat((weights * truths)[:, order], starts, axis=1)
    negative = np.add.reduceat((weights * (1 - truths))[:, order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    area: Floats = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return area


def _weights(images: tuple[str, ...], resamples: int, seed: int) -> Iterator[Floats]:
    """Yield (some resamples, cases) weights: how often each case's image is drawn."""
    counts, place = _image_draws(images, resamples, seed)
    step = max(1, AT_ONCE // len(images))
    for start in range(0, resamples, step):
        yield counts[start : start + step][:, place].astype(np.float64)


@lru_cache(maxsize=64)
def _image_draws(images: tuple[str, ...], resamples: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (resamples, distinct images) draws and each case's image; runs of one task share their test set."""
    distinct, place = np.unique(np.array(images), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), size=resamples)
    return counts, place
