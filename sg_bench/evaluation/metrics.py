"""The metrics of the task cards, from predictions and truths of all test cases.

Published tables print an "IoU" that is `mean_iou_keras`, not the foreground IoU `iou_bin`. On small objects it is about
18 points higher, so published numbers are compared with `mean_iou_keras` alone.

Probabilities are compared with thresholds in float32, the thresholds being i / 100 rounded to float32. Score
predictions as they are stored (float16), not as they were computed: then scoring them again gives the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.errors import MethodError
from sg_bench.evaluation.checking import (
    as_mask,
    check_finite,
    check_ids,
    check_shapes,
    check_two_classes,
    checked,
)
from sg_bench.tasks import TaskKind

CaseArrays = Sequence[NDArray[Any]]
"""One array per case; shapes can differ from case to case."""

KERAS_THRESHOLDS: NDArray[np.float32] = np.array([i / 100 for i in range(50, 100, 5)], dtype=np.float32)
STREAM_BATCH = 16
"""Batch size of the nodule segmentation of Models Genesis, in crops."""


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of prediction (p > 0.5) and truth, of one case or summed over cases."""

    both: int
    predicted: int
    true: int

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.predicted + other.predicted, self.true + other.true)

    @property
    def empty(self) -> bool:
        """Whether neither prediction nor truth holds a voxel."""
        return self.predicted + self.true == 0

    def iou(self, *, empty: float) -> float:
        """Return intersection over union in [0, 1], or `empty` if both are empty."""
        return empty if self.empty else self.both / (self.predicted + self.true - self.both)

    def dice(self, *, empty: float) -> float:
        """Return twice the intersection over the sum of sizes, in [0, 1], or `empty` if both are empty."""
        return empty if self.empty else 2 * self.both / (self.predicted + self.true)


def overlap(probabilities: NDArray[Any], truth: NDArray[Any], name: str = "a case") -> Overlap:
    """Return the voxel counts of one case.

    Args:
        probabilities: any shape, in [0, 1]; a voxel is predicted where p > 0.5.
        truth: the same shape, 0 or 1.
        name: the case, for error messages.

    Raises:
        MethodError: the shapes differ, or a probability is NaN or outside [0, 1].
        DataError: the truth holds other values than 0 and 1.
    """
    predicted, true = checked(probabilities, truth, name)
    predicted = predicted > np.float32(0.5)
    return Overlap(int(np.count_nonzero(predicted & true)), int(predicted.sum()), int(true.sum()))


@dataclass(frozen=True)
class Metric:
    """A metric that a task card can name."""

    name: str
    kind: TaskKind
    definition: str
    """One line, for the report's legend."""
    pooled: Callable[[Overlap], float] | None = None
    """The metric as a function of the counts summed over all cases, for a metric that is one."""
    per_case: Callable[[Overlap], float] | None = None
    """The value of one case, NaN if undefined, for a metric that is a mean over the cases where it is defined."""
    higher_is_better: bool = True
    bounds: tuple[float, float] | None = (0.0, 1.0)
    """Least and greatest possible value; None: not bounded."""
    unit: str = "%"
    """Of printed values: those of [0, 1] are printed in percent; "": that of the values that a regression predicts."""
    always: bool = True
    """Whether it is in the record of every task of its kind with one mask, or with findings; else of those whose card
    names it, of a classification by a column, or of several masks (`scoring.Scoring`)."""

    @property
    def stem(self) -> str:
        """The part of the names of single outputs' values before the output: "dice" of "dice_anterior"."""
        return self.name.removesuffix("_mean")

    @property
    def of_overlaps(self) -> Callable[[Iterable[Overlap]], float] | None:
        """The metric as a function of all cases' counts, NaN if undefined; None if the counts do not suffice."""
        if self.pooled:
            pooled = self.pooled
            return lambda overlaps: pooled(sum(overlaps, Overlap(0, 0, 0)))
        if self.per_case:
            per_case = self.per_case
            return lambda overlaps: _mean([value for each in overlaps if not math.isnan(value := per_case(each))])
        return None


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auc", "classification", "Area under the ROC curve, all cases pooled; mean over outputs"),
        Metric(
            "iou_bin",
            "segmentation",
            "Foreground IoU at p > 0.5, all voxels pooled",
            pooled=lambda total: total.iou(empty=math.nan),
        ),
        Metric(
            "dice_bin",
            "segmentation",
            "Foreground Dice at p > 0.5, all voxels pooled",
            pooled=lambda total: total.dice(empty=math.nan),
        ),
        Metric(
            "iou_case",
            "segmentation",
            "Mean over cases of the foreground's IoU; an empty case is 1",
            per_case=lambda case: case.iou(empty=1.0),
        ),
        Metric(
            "dice_case",
            "segmentation",
            "Mean over cases of the foreground's Dice; an empty case is 1",
            per_case=lambda case: case.dice(empty=1.0),
        ),
        Metric(  # if most cases are negative, predicting nothing does well in dice_case, and scores 0 here
            "dice_positive",
            "segmentation",
            "Mean Dice of the cases that hold foreground",
            per_case=lambda case: case.dice(empty=1.0) if case.true else math.nan,
        ),
        Metric(
            "mean_iou_keras",
            "segmentation",
            "Mean IoU of background and foreground, p > 0.50, 0.55 ... 0.95, pooled",
        ),
        Metric(
            "dice_mean",
            "segmentation",
            "Mean over classes of the mean Dice of the cases in which truth or prediction holds the class",
            always=False,
        ),
        Metric(
            "iou_mean",
            "segmentation",
            "Mean over classes of the mean IoU of the cases in which truth or prediction holds the class",
            always=False,
        ),
        Metric(
            "hd95",
            "segmentation",
            "95th percentile of the distances between both surfaces, mean over cases, then over classes; the image's "
            "diagonal where only one of truth and prediction holds the class",
            higher_is_better=False,
            bounds=None,
            unit="mm",
            always=False,
        ),
        Metric(
            "nsd",
            "segmentation",
            "Share of both surfaces within 2 mm of each other (normalised surface Dice), mean over cases, then classes",
            always=False,
        ),
        Metric("auprc", "classification", "Average precision, all cases pooled; mean over outputs", always=False),
        Metric(
            "balanced_accuracy",
            "classification",
            "Mean recall of the classes, of the most probable class or at p > 0.5; mean over findings",
            always=False,
        ),
        Metric(
            "sensitivity_at_specificity_90",
            "classification",
            "Greatest sensitivity at a specificity of 90 % or more, all cases pooled; mean over outputs",
            always=False,
        ),
        Metric(
            "brier",
            "classification",
            "Mean squared error of the probabilities; of several classes half the sum over classes",
            higher_is_better=False,
            always=False,
        ),
        Metric(
            "ece",
            "classification",
            "Expected calibration error: mean gap of probability and frequency in 15 bins, weighted by cases",
            higher_is_better=False,
            always=False,
        ),
        Metric(
            "mae",
            "regression",
            "Mean absolute error, in the values' unit",
            higher_is_better=False,
            bounds=None,
            unit="",
        ),
        Metric(
            "r2",
            "regression",
            "Share of the values' variance that is predicted: 1 - SS(residual) / SS(total)",
            bounds=None,
            unit="",
        ),
    )
}


@cache
def metric_of(name: str) -> Metric | None:
    """Return a metric by its name, or by that of one output's value (`auc_Mass`); None if there is none."""
    found = [metric for metric in METRICS.values() if name.startswith(f"{metric.stem}_")]
    return METRICS.get(name) or max(found, key=lambda metric: len(metric.stem), default=None)


def bounds_of(name: str) -> tuple[float, float] | None:
    """Return the bounds of a metric, or of one output's (`auc_Mass`); None if it has none or is not known."""
    metric = metric_of(name)
    return metric.bounds if metric else None


def higher_is_better(name: str) -> bool:
    """Return whether more of a metric is better, as of any that is not known."""
    metric = metric_of(name)
    return metric is None or metric.higher_is_better


def is_better(score: float, than: float, name: str) -> bool:
    """Return whether a score of a metric is better than another."""
    return score > than if higher_is_better(name) else score < than


def unit_of(name: str) -> str:
    """Return the unit that a metric's values are printed in: "%" for fractions, "mm", or "" for a regression's."""
    metric = metric_of(name)
    return metric.unit if metric else "%"


def scale_of(name: str) -> float:
    """Return what a metric's values are multiplied by to be printed in `unit_of`."""
    return 100.0 if unit_of(name) == "%" else 1.0


def text_of(score: float | None, name: str) -> str:
    """Return a value of a metric as text, with its unit."""
    return "undefined" if score is None else f"{scale_of(name) * score:.2f} {unit_of(name)}".rstrip()


def score(
    kind: TaskKind,
    predictions: Mapping[str, NDArray[Any]],
    truths: Mapping[str, NDArray[Any]],
    names: Sequence[str] = (),
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Return all metrics of a kind of task, and one row per case in the order of the case ids, ready for JSON.

    An undefined metric is None. A classification's row holds `case`, `score` and `truth` (a number, or a list where
    there are several outputs, each of which then has its own metric `auc_<name>` too). A segmentation's row holds
    `case`, the per-case metrics, the counts `both`, `predicted` and `true` in voxels, and `empty`, whether prediction
    and truth are both empty.

    Args:
        kind: which metrics.
        predictions: case id to scores, () or (C,), or to probabilities in [0, 1] of any shape.
        truths: the same ids and shapes, 0 or 1.
        names: classification: names of the C outputs, or () if they have none.

    Raises:
        MethodError: predictions do not fit the truths in ids, shapes or number of outputs, or are NaN or out of range.
        DataError: there is no case, a truth is not 0 or 1, or an AUC is undefined.
    """
    ids = sorted(truths)
    check_ids(predictions, ids)
    predicted, true = [np.asarray(predictions[case]) for case in ids], [np.asarray(truths[case]) for case in ids]
    if kind == "classification":
        return _score_classification(ids, predicted, true, names)
    overlaps = [overlap(p, t, case) for case, p, t in zip(ids, predicted, true, strict=True)]
    metrics: dict[str, float | None] = {}
    for metric in METRICS.values():
        if metric.kind == "segmentation" and metric.always:
            value = metric.of_overlaps(overlaps) if metric.of_overlaps else mean_iou_keras(predicted, true)
            metrics[metric.name] = _none_if_nan(value)
    return metrics, [_segmentation_row(case, counts) for case, counts in zip(ids, overlaps, strict=True)]


def _segmentation_row(case: str, counts: Overlap) -> dict[str, Any]:
    values = {metric.name: _none_if_nan(metric.per_case(counts)) for metric in METRICS.values() if metric.per_case}
    sizes = {"both": counts.both, "predicted": counts.predicted, "true": counts.true}
    return {"case": case, **values, **sizes, "empty": counts.empty}


def _score_classification(
    ids: list[str], predicted: CaseArrays, true: CaseArrays, names: Sequence[str]
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    outputs = {array.size for array in (*predicted, *true)}
    if len(outputs) > 1 or (names and outputs != {len(names)}):
        named = f", {len(names)} names" if names else ""
        raise MethodError(f"cases have {', '.join(map(str, sorted(outputs)))} outputs and truths{named}")
    scores, truths = (np.stack([array.reshape(-1) for array in arrays]) for arrays in (predicted, true))
    areas = output_aucs(scores, truths, names)
    each = {f"auc_{name}": area for name, area in zip(names, areas, strict=True)} if len(areas) > 1 and names else {}
    return {"auc": _mean(areas), **each}, [
        {"case": case, "score": a.squeeze().tolist(), "truth": b.squeeze().astype(int).tolist()}
        for case, a, b in zip(ids, scores, truths, strict=True)
    ]


def auc(scores: NDArray[Any], truths: NDArray[Any]) -> float:
    """Return the area under the ROC curve over all cases pooled, averaged over outputs if there are several.

    Arguments and errors are those of `output_aucs`.
    """
    return _mean(output_aucs(scores, truths))


def output_aucs(scores: NDArray[Any], truths: NDArray[Any], names: Sequence[str] = ()) -> list[float]:
    """Return the area under the ROC curve of each output, over all cases pooled; ties count one half.

    Args:
        scores: (N,) or (N, C), any finite numbers, higher meaning more positive; one column per output.
        truths: the same shape, 0 or 1.
        names: names of the C outputs, for error messages.

    Raises:
        MethodError: a score is NaN or infinite, or the shapes differ.
        DataError: an output's truths are all of one class, so that its area is undefined, and the mean with it.
    """
    from sklearn.metrics import roc_auc_score

    score, truth = (np.asarray(array).reshape(len(array), -1) for array in (scores, truths))
    check_shapes(score, truth, "the scores")
    check_finite(score, "the scores")
    mask = as_mask(truth, "the truths")
    check_two_classes(mask, names)
    return [float(roc_auc_score(column, each.astype(np.float64))) for column, each in zip(mask.T, score.T, strict=True)]


def mean_iou_keras(probabilities: CaseArrays, truths: CaseArrays) -> float:
    """Return the mean IoU of background and foreground, averaged over p > t for t = 0.50, 0.55 ... 0.95.

    Voxels of all cases are pooled. A class that neither prediction nor truth holds is left out of its threshold's mean.

    Source: `mean_iou` of the Models Genesis code, which computed the papers' IoU columns, except for its batches: see
    `mean_iou_keras_stream`.
    """
    _check_lengths(probabilities, truths)
    return _two_class_iou(_threshold_counts(probabilities, truths))


def mean_iou_keras_stream(probabilities: CaseArrays, truths: CaseArrays, batch_size: int = STREAM_BATCH) -> float:
    """Return `mean_iou_keras` as the original code computes it, batch by batch, for comparison with the pooled one.

    Counts add up from the first batch on. After each batch the metric of all counts so far is computed, and the result
    is the mean of these values, weighted by the batches' numbers of cases. So it depends on the order of the cases,
    which the papers do not state: pass them in the order of their ids.

    Raises:
        MethodError: the batch size is below 1, or as in `overlap`.

    Source: Keras's evaluate with TensorFlow's streaming mean_iou, whose counts are never reset within one evaluation.
    """
    if batch_size < 1:
        raise MethodError(f"a batch has 1 case or more, not {batch_size}", hint=f"Theirs had {STREAM_BATCH}")
    _check_lengths(probabilities, truths)
    counts, weighted = np.zeros(_COUNTS, np.int64), 0.0
    for first in range(0, len(truths), batch_size):
        batch = slice(first, first + batch_size)
        counts = counts + _threshold_counts(probabilities[batch], truths[batch])
        weighted += len(truths[batch]) * _two_class_iou(counts)
    return weighted / len(truths) if len(truths) else math.nan


_COUNTS = (2, len(KERAS_THRESHOLDS) + 1)


def _threshold_counts(probabilities: CaseArrays, truths: CaseArrays) -> NDArray[np.int64]:
    """Return (background and foreground, 11): how many of all cases' voxels exceed 0 to 10 of Keras's thresholds."""
    counts = np.zeros(_COUNTS, np.int64)
    for probability, truth in zip(probabilities, truths, strict=True):
        values, true = (array.ravel() for array in checked(probability, truth, "a case"))
        exceeded = np.searchsorted(KERAS_THRESHOLDS, values, side="left")
        counts += np.stack([np.bincount(exceeded[part], minlength=_COUNTS[1]) for part in (~true, true)])
    return counts


def _check_lengths(probabilities: CaseArrays, truths: CaseArrays) -> None:
    if len(probabilities) != len(truths):
        raise MethodError(f"{len(probabilities)} predictions for {len(truths)} cases")


def _two_class_iou(counts: NDArray[np.int64]) -> float:
    """Return the mean over thresholds of both classes' mean IoU, from `_threshold_counts`; NaN without voxels."""
    if not counts.any():
        return math.nan
    background, foreground = counts.sum(axis=1).tolist()
    means = []
    for false, hit in (counts.sum(axis=1)[:, None] - np.cumsum(counts, axis=1)[:, :-1]).T.tolist():
        rejected, wrong = background - false, false + foreground - hit
        means.append(_mean([right / (right + wrong) for right in (hit, rejected) if right + wrong]))
    return float(np.mean(means))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
