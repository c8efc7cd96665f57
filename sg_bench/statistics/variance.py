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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.statistics.samples import FloatArray
from sg_bench.statistics.units import SeedPair

CaseRow = Mapping[str, Any]
"""One row of a record's `cases`: a case's own metrics and counts, or its scores and truths; and whose case it is."""
CaseUnit = Literal["patients", "images"]
RESAMPLES = 1000
LEAST_DRAWS = 100
"""Fewest test sets with a value that an interval can be read from."""
CONFIDENCE = 0.95
AT_ONCE = 2_000_000
"""Weights, resamples x cases, that are held in memory at one time."""
POOLED: dict[str, Callable[[FloatArray, FloatArray, FloatArray], FloatArray]] = {
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
class VarianceComponents:
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


@dataclass(frozen=True)
class CaseInterval:
    """Where a score may lie on another test set of this size from the same source, the networks staying as they are."""

    low: float
    high: float
    resamples: int
    left_out: int
    """Of these, the test sets on which the metric is undefined: an output without a positive or a negative case."""


def variance_components(
    scores: Mapping[SeedPair, float], deviations: Sequence[float | None], metric: str
) -> VarianceComponents:
    """Return the same from the runs' own deviations over test cases, where these are known already."""
    spread = seed_spread(scores)
    known = [deviation for deviation in deviations if deviation is not None]
    notes = spread.notes if known else (*spread.notes, f"test cases: {metric} cannot be computed from the cases' rows")
    return VarianceComponents(
        spread.pretraining,
        spread.fine_tuning,
        math.sqrt(fmean(deviation**2 for deviation in known)) if known else None,
        len({pretraining for pretraining, _ in scores}),
        len(scores),
        notes,
    )


def seed_spread(scores: Mapping[SeedPair, float]) -> SeedSpread:
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


def resampling_units(rows: Sequence[CaseRow]) -> tuple[CaseUnit, tuple[str, ...]]:
    """Return what is drawn as a whole, and each row's: its patient where all rows know theirs, else its image.

    An image's crops ("patient-3#0", "patient-3#1") are no independent cases, nor are a patient's images.
    """
    if rows and all(row.get("patient") for row in rows):
        return "patients", tuple(str(row["patient"]) for row in rows)
    return "images", tuple(str(row["case"]).rpartition("#")[0] or str(row["case"]) for row in rows)


def bootstrap_scores(
    rows: Sequence[CaseRow],
    metrics: Sequence[str],
    outputs: Sequence[str] = (),
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, FloatArray]:
    """Return one run's scores over bootstrapped test sets, by metric: (resamples,), NaN where undefined.

    Patients (or images, see `resampling_units`) are drawn with replacement, each with all of its rows.

    Args:
        rows: one a case, as a record holds them.
        metrics: `auc`, `auc_<name>` of an output, a pooled metric of the counts, or one that each row holds.
        outputs: names of a classification's outputs, in the order of the rows' lists.
        resamples: how many.
        seed: of the draws; equal seeds and units give equal draws, for every run and method.

    Returns:
        Nothing of a metric that the rows do not hold (`mean_iou_keras` needs voxels), and of any with fewer than two
        units.
    """
    _, units = resampling_units(rows)
    scorers = _scorers(rows, metrics, outputs) if len(set(units)) > 1 else []
    if not scorers:
        return {}
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [
            {name: score for scorer in scorers for name, score in scorer(weights).items()}
            for weights in _weights(units, resamples, seed)
        ]
    return {name: np.concatenate([part[name] for part in parts]) for name in metrics if name in parts[0]}


def bootstrap_std(scores: FloatArray) -> float | None:
    """Return the standard deviation (ddof 1) of a run's scores over test sets; those without a value are left out."""
    found = scores[np.isfinite(scores)]
    return float(np.std(found, ddof=1)) if len(found) > 1 else None


def case_interval(runs: Sequence[FloatArray]) -> CaseInterval | None:
    """Return the 95 % percentile interval of the mean of some runs' scores over test sets, or None.

    With few patients it is too short; it says nothing of other seeds.

    Args:
        runs: of each run the scores of `bootstrap_scores`; runs of one test set must have been drawn with one seed.

    Returns:
        None without a run, and where fewer than 100 test sets have a value.
    """
    if not runs:
        return None
    means = np.mean(np.stack(runs), axis=0)
    found = means[np.isfinite(means)]
    if len(found) < min(LEAST_DRAWS, len(means)):
        return None
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return CaseInterval(float(low), float(high), len(means), len(means) - len(found))


def _groups(scores: Mapping[SeedPair, float]) -> Iterator[list[float]]:
    for seed in sorted({pretraining for pretraining, _ in scores}):
        yield [score for (pretraining, _), score in sorted(scores.items()) if pretraining == seed]


def _single(runs: int) -> tuple[str, ...]:
    return () if runs > 1 else ("fine-tuning: there are not two runs",)


def _scorers(
    rows: Sequence[CaseRow], metrics: Sequence[str], outputs: Sequence[str]
) -> list[Callable[[FloatArray], dict[str, FloatArray]]]:
    """Return functions from (resamples, cases) weights to (resamples,) scores by metric, where the rows suffice."""
    areas = {"auc", *(f"auc_{name}" for name in outputs)}.intersection(metrics)
    found = [_auc_scorer(rows, outputs)] if areas and all("score" in row for row in rows) else []
    return found + [scorer for name in metrics if name not in areas and (scorer := _scorer(rows, name))]


def _scorer(rows: Sequence[CaseRow], metric: str) -> Callable[[FloatArray], dict[str, FloatArray]] | None:
    if metric in POOLED and all("both" in row for row in rows):
        counts = np.array([[row["both"], row["predicted"], row["true"]] for row in rows], dtype=np.float64)
        return lambda weights: {metric: POOLED[metric](*(weights @ counts).T)}
    if all(metric in row for row in rows):
        values = np.array([math.nan if row[metric] is None else row[metric] for row in rows], dtype=np.float64)
        defined = np.isfinite(values)
        return lambda weights: {metric: (weights[:, defined] @ values[defined]) / weights[:, defined].sum(axis=1)}
    return None


def _auc_scorer(rows: Sequence[CaseRow], outputs: Sequence[str]) -> Callable[[FloatArray], dict[str, FloatArray]]:
    """Return the function that scores every output once, and takes their plain mean."""
    scores, truths = (
        np.array([row[name] for row in rows], dtype=np.float64).reshape(len(rows), -1).T for name in ("score", "truth")
    )
    named = outputs if len(scores) > 1 and len(outputs) == len(scores) else ()

    def score(weights: FloatArray) -> dict[str, FloatArray]:
        single = weights.astype(np.float32)  # counts are as exact, and there is half the memory to go through
        areas = [_weighted_auc(*column, single) for column in zip(scores, truths, strict=True)]
        each = {f"auc_{name}": area for name, area in zip(named, areas, strict=False)}
        return {"auc": np.mean(areas, axis=0), **each}

    return score


def _weighted_auc(scores: FloatArray, truths: FloatArray, weights: NDArray[np.float32]) -> FloatArray:
    """Return each resample's area under the ROC curve; ties count one half.

    Args:
        scores: (N,), any finite numbers.
        truths: (N,), 0 or 1.
        weights: (resamples, N): how often each case is drawn; products are exact up to 2**23, to 7 digits beyond.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    drawn = weights[:, order]
    positive = np.add.reduceat(drawn * truths[order].astype(np.float32), starts, axis=1)
    negative = np.add.reduceat(drawn, starts, axis=1) - positive
    below = np.cumsum(negative, axis=1) - negative / 2
    totals = (part.sum(axis=1, dtype=np.float64) for part in (positive, negative))
    area: FloatArray = (positive * below).sum(axis=1, dtype=np.float64) / math.prod(totals)
    return area


def _weights(units: tuple[str, ...], resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield (some resamples, cases) weights: how often each case's patient or image is drawn."""
    counts, place = _unit_draws(units, resamples, seed)
    step = max(1, AT_ONCE // len(units))
    for start in range(0, resamples, step):
        yield counts[start : start + step][:, place].astype(np.float64)


@lru_cache(maxsize=64)
def _unit_draws(units: tuple[str, ...], resamples: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (resamples, distinct units) draws and each case's unit; runs of one task share their test set."""
    distinct, place = np.unique(np.array(units), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), size=resamples)
    return counts, place
