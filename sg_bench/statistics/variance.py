"""Variance components of a method's scores: pretraining seed, fine-tuning seed, test cases.

A standard deviation over fine-tuning runs does not include the variation over pretrainings, and neither includes the
variation over patients. The components are therefore not pooled: each has its own standard deviation in score units
(fractions), or None and the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sg_bench.evaluation.pooled import OUTPUT_METRICS, classification_metric, r2
from sg_bench.statistics.bootstrap_auc import RankedScores
from sg_bench.statistics.samples import FloatArray
from sg_bench.statistics.units import SeedPair

if TYPE_CHECKING:
    import pandas as pd

CaseScores: TypeAlias = "pd.DataFrame | Sequence[Mapping[str, Any]]"
"""One row a test case: its own metrics and counts, or its scores and truths; its id and its patient."""
COUNTS = {"both", "predicted", "true"}
CaseUnit = Literal["patients", "images"]
RESAMPLES = 1000
LEAST_DRAWS = 100
"""Fewest bootstrap test sets with a value for which an interval is computed."""
CONFIDENCE = 0.95
AT_ONCE = 2_000_000
"""Weights, resamples x cases (or units, where these suffice), that are held in memory at one time."""
POOLED: dict[str, Callable[[FloatArray, FloatArray, FloatArray], FloatArray]] = {
    "iou_bin": lambda both, predicted, true: both / (predicted + true - both),
    "dice_bin": lambda both, predicted, true: 2 * both / (predicted + true),
}
"""Metrics of the voxels of all cases together, from sums of counts."""


@dataclass(frozen=True)
class SeedSpread:
    """Standard deviations between pretrainings and between fine-tunings of one pretraining."""

    pretraining: float | None
    fine_tuning: float | None
    notes: tuple[str, ...] = ()
    """Why a number is absent or 0."""


@dataclass(frozen=True)
class VarianceComponents:
    """Variance components of one method on one task, as standard deviations in score units."""

    pretraining: float | None
    """Of the expected score between pretraining seeds."""
    fine_tuning: float | None
    """Between fine-tuning seeds of the same pretraining."""
    test_cases: float | None
    """Of a run's score between test sets of this size: root mean square over the runs."""
    pretrainings: int
    runs: int
    notes: tuple[str, ...]
    """Why a number is absent or 0."""


@dataclass(frozen=True)
class CaseInterval:
    """95 % interval of a score over test sets of this size from the same source, for the same networks."""

    low: float
    high: float
    resamples: int
    left_out: int
    """Resamples on which the metric is undefined: an output without a positive or a negative case."""


def variance_components(
    scores: Mapping[SeedPair, float], deviations: Sequence[float | None], metric: str
) -> VarianceComponents:
    """Return the variance components of a method's scores on a task.

    Args:
        scores: by (pretraining seed, fine-tuning seed), fractions in [0, 1]; any number of runs per pretraining.
        deviations: each run's standard deviation over test cases (`bootstrap_std`), None where unknown.
        metric: name of the metric.
    """
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

    Method of moments: the mean square within groups estimates the fine-tuning variance; the excess of the mean square
    between groups, divided by the effective number of runs per pretraining, estimates the pretraining variance.
    Negative estimates are set to 0.

    Source: Searle, Casella and McCulloch, Variance Components (1992), section 3.6 (unbalanced data).
    """
    groups = list(_groups(scores))
    runs, pretrainings = len(scores), len(groups)
    if pretrainings < 2:
        note = "pretraining: there is only one, so results are about this checkpoint only"
        return SeedSpread(None, stdev(scores.values()) if runs > 1 else None, (note, *_single(runs)))
    if runs == pretrainings:
        return SeedSpread(None, None, ("seeds: one run per pretraining, so both components are confounded",))
    grand = fmean(scores.values())
    within = sum((score - fmean(group)) ** 2 for group in groups for score in group) / (runs - pretrainings)
    between = sum(len(group) * (fmean(group) - grand) ** 2 for group in groups) / (pretrainings - 1)
    effective = (runs - sum(len(group) ** 2 for group in groups) / runs) / (pretrainings - 1)
    variance = (between - within) / effective
    notes = ("pretraining: the estimate is negative, set to 0",) if variance < 0 else ()
    return SeedSpread(math.sqrt(max(0.0, variance)), math.sqrt(within), notes)


def resampling_units(cases: CaseScores) -> tuple[CaseUnit, pd.Categorical[Any]]:
    """Return the kind of unit that is drawn with all of its cases, and the name of each case's unit.

    That is its patient where the patients of all cases are known, else its image: an image's crops ("patient-3#0",
    "patient-3#1") are no independent cases, nor are a patient's images. The categories are sorted.
    """
    import pandas as pd

    frame = _frame(cases)
    if patients_known(frame):
        patients = pd.Categorical(frame["patient"]).remove_unused_categories()
        return "patients", patients.reorder_categories(sorted(patients.categories))
    ids = (str(case) for case in frame["case"]) if len(frame) else ()
    return "images", pd.Categorical([id_.rpartition("#")[0] or id_ for id_ in ids])


def patients_known(cases: pd.DataFrame) -> bool:
    """Return whether the patients of all cases are known."""
    return "patient" in cases and bool(cases["patient"].notna().all() and not (cases["patient"] == "").any())


def bootstrap_scores(
    cases: CaseScores,
    metrics: Sequence[str],
    outputs: Sequence[str] = (),
    *,
    exclusive: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    units: pd.Categorical[Any] | None = None,
) -> dict[str, FloatArray]:
    """Return one run's scores over bootstrap test sets by metric: (resamples,), NaN where undefined.

    Patients (or images, see `resampling_units`) are drawn with replacement, each with all of its rows.

    Args:
        cases: one row a case, as `Ledger.case_scores` returns them.
        metrics: `auc` and others of a classification, `auc_<name>` of an output, a pooled metric of the counts, `r2`,
            one that each case has, or its mean over outputs.
        outputs: names of a classification's outputs, in the order of a case's scores, or of a segmentation's masks.
        exclusive: whether the outputs of a classification are classes of which a case has one.
        resamples: number of test sets.
        seed: of the resampling; equal seeds and units give equal resamples for all runs and methods.
        units: what `resampling_units` returned for the cases, if that is known.

    Returns:
        Nothing of a metric that the cases do not hold (`mean_iou_keras` needs voxels), and of any with fewer than two
        units.
    """
    frame = _frame(cases)
    units = resampling_units(frame)[1] if units is None else units
    count, owners = len(units.categories), units.codes.astype(np.int64)
    if count < 2:
        return {}
    ranked = _ranked(frame, owners, count) if any(_is_area(name, outputs) for name in metrics) else []
    others = {name: each for name in metrics if not _is_area(name, outputs) and (each := _scorer(frame, name, outputs))}
    pooled = _pooled_metrics(metrics, outputs) if "score" in frame else {}
    columns = _score_columns(frame) if pooled else None
    width = max([count, len(frame) if others or pooled else 0, *(output.levels for output in ranked)])
    parts: list[dict[str, FloatArray]] = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for drawn in _unit_weights(count, width, resamples, seed):
            parts.append(_areas(ranked, outputs, drawn) if ranked else {})
            if others or columns:
                weights = drawn[:, owners].astype(np.float64)
                parts[-1] |= {name: score(weights) for name, score in others.items()}
            if columns:
                for base in dict.fromkeys(pooled.values()):
                    parts[-1] |= _classified(base, *columns, weights, outputs, exclusive=exclusive)
    return {name: np.concatenate([part[name] for part in parts]) for name in metrics if name in parts[0]}


def bootstrap_std(scores: FloatArray) -> float | None:
    """Return the standard deviation (ddof 1) of a run's scores over test sets, ignoring those without a value."""
    found = scores[np.isfinite(scores)]
    return float(np.std(found, ddof=1)) if len(found) > 1 else None


def case_interval(runs: Sequence[FloatArray]) -> CaseInterval | None:
    """Return the 95 % percentile interval of the mean of some runs' scores over test sets, or None.

    With few patients it is too short; it does not include the variation over seeds.

    Args:
        runs: the `bootstrap_scores` of each run; runs of one test set must use equal seeds.

    Returns:
        None without a run, and if fewer than 100 test sets have a value.
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
    return () if runs > 1 else ("fine-tuning: there is only one run",)


def _frame(cases: CaseScores) -> pd.DataFrame:
    import pandas as pd

    return cases if isinstance(cases, pd.DataFrame) else pd.DataFrame(list(cases))


def _is_area(metric: str, outputs: Sequence[str]) -> bool:
    return metric == "auc" or metric in {f"auc_{name}" for name in outputs}


def _pooled_metrics(metrics: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """Return the metric of `OUTPUT_METRICS` that each of these metrics is, of all or of one output."""
    names = {base: base for base in OUTPUT_METRICS} | {f"{b}_{o}": b for b in OUTPUT_METRICS for o in outputs}
    return {name: names[name] for name in metrics if name in names}


def _classified(
    base: str, scores: FloatArray, truths: FloatArray, weights: FloatArray, outputs: Sequence[str], *, exclusive: bool
) -> dict[str, FloatArray]:
    """Return a metric of a classification, (resamples,), and that of each named output."""
    whole, each = classification_metric(base, scores.T, truths.T > 0, weights, exclusive=exclusive)
    if each is None or len(outputs) < 2:
        return {base: whole}
    return {base: whole, **{f"{base}_{name}": column for name, column in zip(outputs, each.T, strict=True)}}


def _scorer(frame: pd.DataFrame, metric: str, outputs: Sequence[str] = ()) -> Callable[[FloatArray], FloatArray] | None:
    """Return the function from (resamples, cases) weights to (resamples,) scores, where the cases suffice."""
    stem = metric.removesuffix("_mean")
    each = [_scorer(frame, f"{stem}_{name}") for name in outputs]
    if each and metric not in frame and all(each):
        return lambda weights: np.mean([score(weights) for score in each if score], axis=0)
    if metric == "r2" and "score" in frame:
        predicted, true = (frame[name].to_numpy(dtype=np.float64) for name in ("score", "truth"))
        return lambda weights: r2(predicted, true, weights)
    if metric in POOLED and set(frame.columns) >= COUNTS:
        counts = frame[["both", "predicted", "true"]].to_numpy(dtype=np.float64)
        return lambda weights: POOLED[metric](*(weights @ counts).T)
    if metric in frame:
        values = frame[metric].to_numpy(dtype=np.float64)
        defined = np.isfinite(values)
        return lambda weights: (weights[:, defined] @ values[defined]) / weights[:, defined].sum(axis=1)
    return None


def _ranked(frame: pd.DataFrame, owners: NDArray[np.int64], units: int) -> list[RankedScores]:
    """Return the ranked scores of each output of a classification, none where the cases have no scores."""
    if "score" not in frame:
        return []
    scores, truths = _score_columns(frame)
    return [RankedScores.of(*column, owners, units) for column in zip(scores, truths, strict=True)]


def _score_columns(frame: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return the scores and truths of a classification's cases, (outputs, cases) each."""
    scores, truths = (
        np.array(column.tolist() if column.dtype == object else column, np.float64).reshape(len(frame), -1).T
        for column in (frame[name] for name in ("score", "truth"))
    )
    return scores, truths


def _areas(
    ranked: Sequence[RankedScores], outputs: Sequence[str], weights: NDArray[np.integer]
) -> dict[str, FloatArray]:
    """Return the area under the curve of each named output and their plain mean, (resamples,) each."""
    drawn = np.ascontiguousarray(weights.T, np.int32)
    areas = [output.areas(drawn) for output in ranked]
    named = outputs if len(ranked) > 1 and len(outputs) == len(ranked) else ()
    return {"auc": np.mean(areas, axis=0), **{f"auc_{name}": area for name, area in zip(named, areas, strict=False)}}


def _unit_weights(units: int, width: int, resamples: int, seed: int) -> Iterator[NDArray[np.integer]]:
    """Yield (some resamples, units) weights: how often each unit is drawn, `AT_ONCE` // `width` resamples at a time."""
    step, rng = max(1, AT_ONCE // width), np.random.default_rng(seed)
    kept = _drawn(units, resamples, seed) if units * resamples <= 2 * AT_ONCE else None
    for start in range(0, resamples, step):
        end = min(start + step, resamples)
        yield _multinomial(rng, units, end - start) if kept is None else kept[start:end]


@lru_cache(maxsize=16)
def _drawn(units: int, resamples: int, seed: int) -> NDArray[np.integer]:
    """Return (resamples, units) weights; all runs of one test set are drawn alike."""
    return _multinomial(np.random.default_rng(seed), units, resamples)


def _multinomial(rng: np.random.Generator, units: int, count: int) -> NDArray[np.integer]:
    return rng.multinomial(units, np.full(units, 1 / units), size=count).astype(np.int32)
