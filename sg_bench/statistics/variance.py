"""Where the spread of a method's scores comes from: pretraining seed, fine-tuning seed, test cases. Never pooled.

A standard deviation over fine-tuning runs says nothing of another pretraining, and neither says anything of other
patients. Each source has its own number, in score units (fractions), or none and the reason why not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
"""Fewest test sets with a value that an interval can be read from."""
CONFIDENCE = 0.95
AT_ONCE = 2_000_000
"""Weights, resamples x cases (or units, where these suffice), that are held in memory at one time."""
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


def resampling_units(cases: CaseScores) -> tuple[CaseUnit, pd.Categorical[Any]]:
    """Return the kind of unit that is drawn with all of its cases, and the name of each case's unit.

    That is its patient where the patients of all cases are known, else its image: an image's crops ("patient-3#0",
    "patient-3#1") are no independent cases, nor are a patient's images. The categories are sorted.
    """
    import pandas as pd

    frame = _frame(cases)
    if "patient" in frame and frame["patient"].notna().all() and not (frame["patient"] == "").any():
        patients = pd.Categorical(frame["patient"]).remove_unused_categories()
        return "patients", patients.reorder_categories(sorted(patients.categories))
    ids = (str(case) for case in frame["case"]) if len(frame) else ()
    return "images", pd.Categorical([id_.rpartition("#")[0] or id_ for id_ in ids])


def bootstrap_scores(
    cases: CaseScores,
    metrics: Sequence[str],
    outputs: Sequence[str] = (),
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, FloatArray]:
    """Return one run's scores over bootstrapped test sets, by metric: (resamples,), NaN where undefined.

    Patients (or images, see `resampling_units`) are drawn with replacement, each with all of its rows.

    Args:
        cases: one row a case, as `Ledger.case_scores` returns them.
        metrics: `auc`, `auc_<name>` of an output, a pooled metric of the counts, or one that each case has.
        outputs: names of a classification's outputs, in the order of a case's scores.
        resamples: how many.
        seed: of the draws; equal seeds and units give equal draws, for every run and method.

    Returns:
        Nothing of a metric that the cases do not hold (`mean_iou_keras` needs voxels), and of any with fewer than two
        units.
    """
    frame = _frame(cases)
    units = resampling_units(frame)[1]
    count, owners = len(units.categories), units.codes.astype(np.int64)
    if count < 2:
        return {}
    ranked = _ranked(frame, owners, count) if any(_is_area(name, outputs) for name in metrics) else []
    others = {name: each for name in metrics if not _is_area(name, outputs) and (each := _scorer(frame, name))}
    width = max([count, len(frame) if others else 0, *(output.levels for output in ranked)])
    parts: list[dict[str, FloatArray]] = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for drawn in _unit_weights(count, width, resamples, seed):
            parts.append(_areas(ranked, outputs, drawn) if ranked else {})
            if others:
                weights = drawn[:, owners]
                parts[-1] |= {name: score(weights) for name, score in others.items()}
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


def _frame(cases: CaseScores) -> pd.DataFrame:
    import pandas as pd

    return cases if isinstance(cases, pd.DataFrame) else pd.DataFrame(list(cases))


def _is_area(metric: str, outputs: Sequence[str]) -> bool:
    return metric == "auc" or metric in {f"auc_{name}" for name in outputs}


def _scorer(frame: pd.DataFrame, metric: str) -> Callable[[FloatArray], FloatArray] | None:
    """Return the function from (resamples, cases) weights to (resamples,) scores, where the cases suffice."""
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
    scores, truths = (
        np.array(frame[name].tolist(), dtype=np.float64).reshape(len(frame), -1).T for name in ("score", "truth")
    )
    return [RankedScores.of(*column, owners, units) for column in zip(scores, truths, strict=True)]


def _areas(ranked: Sequence[RankedScores], outputs: Sequence[str], drawn: FloatArray) -> dict[str, FloatArray]:
    """Return the area under the curve of each named output and their plain mean, (resamples,) each."""
    areas = [output.areas(drawn) for output in ranked]
    named = outputs if len(ranked) > 1 and len(outputs) == len(ranked) else ()
    return {"auc": np.mean(areas, axis=0), **{f"auc_{name}": area for name, area in zip(named, areas, strict=False)}}


def _unit_weights(units: int, width: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield (some resamples, units) weights: how often each unit is drawn, `AT_ONCE` // `width` resamples at a time."""
    step, rng = max(1, AT_ONCE // width), np.random.default_rng(seed)
    for start in range(0, resamples, step):
        yield rng.multinomial(units, np.full(units, 1 / units), size=min(step, resamples - start)).astype(np.float64)
