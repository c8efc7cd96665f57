"""What a prediction is worth: the metrics of the task cards, each by a name that says how it pools.

Published tables print an "IoU" that is `mean_iou_keras`, not the foreground's overlap `iou_bin`; on small objects the
first is some 18 points higher, so published numbers are compared with `mean_iou_keras` alone.

Probabilities are compared with thresholds in float32, thresholds being i / 100 rounded to float32. Score what is
stored (float16), not what was computed before storing: then scoring it again gives the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.errors import MethodError
from sg_bench.evaluation.checking import (
    Array,
    as_mask,
    check_finite,
    check_ids,
    check_shapes,
    check_two_classes,
    checked,
)

Cases = Sequence[Array]
"""One array a case; shapes may differ from case to case."""
Kind = Literal["classification", "segmentation"]

KERAS_THRESHOLDS: NDArray[np.float32] = np.array([i / 100 for i in range(50, 100, 5)], dtype=np.float32)
STREAM_BATCH = 16
"""Crops a batch in the nodule segmentation of Models Genesis."""


@dataclass(frozen=True)
class Overlap:
    """How prediction (p > 0.5) and truth meet, in voxels; overlaps add up over cases."""

    both: int
    predicted: int
    true: int

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.predicted + other.predicted, self.true + other.true)

    @property
    def empty(self) -> bool:
        """Neither prediction nor truth holds a voxel."""
        return self.predicted + self.true == 0

    def iou(self, *, empty: float) -> float:
        """Return intersection over union in [0, 1], or `empty`."""
        return empty if self.empty else self.both / (self.predicted + self.true - self.both)

    def dice(self, *, empty: float) -> float:
        """Return twice the intersection over the sum of sizes, in [0, 1], or `empty`."""
        return empty if self.empty else 2 * self.both / (self.predicted + self.true)


NOTHING = Overlap(0, 0, 0)


def auc(scores: Array, truths: Array) -> float:
    """Return the area under the ROC curve over all cases pooled, the plain mean over outputs where there are several.

    Arguments and errors as `output_aucs`.
    """
    return _mean(output_aucs(scores, truths))


def output_aucs(scores: Array, truths: Array, names: Sequence[str] = ()) -> list[float]:
    """Return the area under the ROC curve of each output, over all cases pooled; ties count one half.

    Args:
        scores: (N,) or (N, C), any finite numbers, higher meaning more positive; a column an output.
        truths: the same shape, 0 or 1.
        names: of the C outputs, for the error message.

    Raises:
        MethodError: a score is NaN or infinite, or the shapes differ.
        DataError: an output's truths are of one class, so that its area is undefined, and the mean with it.
    """
    from sklearn.metrics import roc_auc_score

    score, truth = (np.asarray(array).reshape(len(array), -1) for array in (scores, truths))
    check_shapes(score, truth, "the scores")
    check_finite(score, "the scores")
    mask = as_mask(truth, "the truths")
    check_two_classes(mask, names)
    return [float(roc_auc_score(column, each.astype(np.float64))) for column, each in zip(mask.T, score.T, strict=True)]


def overlap(probabilities: Array, truth: Array, name: str = "a case") -> Overlap:
    """Return how one case's prediction and truth meet.

    Args:
        probabilities: any shape, in [0, 1]; a voxel is predicted where p > 0.5.
        truth: the same shape, 0 or 1.
        name: the case, for the error message.

    Raises:
        MethodError: shapes differ, or a probability is NaN or outside [0, 1].
        DataError: the truth holds something else than 0 and 1.
    """
    predicted, true = checked(probabilities, truth, name)
    predicted = predicted > np.float32(0.5)
    return Overlap(int(np.count_nonzero(predicted & true)), int(predicted.sum()), int(true.sum()))


def iou_bin(probabilities: Cases, truths: Cases) -> float:
    """Return the foreground's IoU over the voxels of all cases pooled; NaN if there is no foreground at all."""
    return _pooled_iou(_overlaps(probabilities, truths))


def dice_bin(probabilities: Cases, truths: Cases) -> float:
    """Return the foreground's Dice over the voxels of all cases pooled; NaN if there is no foreground at all."""
    return _pooled_dice(_overlaps(probabilities, truths))


def iou_case(probabilities: Cases, truths: Cases) -> float:
    """Return the mean over cases of the foreground's IoU; a case empty in prediction and truth scores 1."""
    return _mean_over(_one_iou)(_overlaps(probabilities, truths))


def dice_case(probabilities: Cases, truths: Cases) -> float:
    """Return the mean over cases of the foreground's Dice; a case empty in prediction and truth scores 1."""
    return _mean_over(_one_dice)(_overlaps(probabilities, truths))


def dice_positive(probabilities: Cases, truths: Cases) -> float:
    """Return the mean Dice over the cases whose truth is not empty; NaN if there are none.

    Where most cases are negative, predicting nothing at all does well in `dice_case` and scores 0 here.
    """
    return _mean_over(_one_positive_dice)(_overlaps(probabilities, truths))


def empty_cases(probabilities: Cases, truths: Cases) -> int:
    """Return how many cases `iou_case` and `dice_case` score 1 for being empty in prediction and truth."""
    return sum(each.empty for each in _overlaps(probabilities, truths))


def mean_iou_keras(probabilities: Cases, truths: Cases) -> float:
    """Return the mean of background's and foreground's IoU, averaged over p > t for t = 0.50, 0.55 ... 0.95.

    Voxels of all cases are pooled. A class that neither prediction nor truth holds is left out of its threshold's mean.

    Source: `mean_iou` of the Models Genesis code, which printed the papers' IoU columns, but for its batches: see
    `mean_iou_keras_stream`.
    """
    return _two_class_iou(sum((_levels(*pair) for pair in _paired(probabilities, truths)), _NO_LEVELS))


def mean_iou_keras_stream(probabilities: Cases, truths: Cases, batch_size: int = STREAM_BATCH) -> float:
    """Return `mean_iou_keras` as the original code computes it, batch by batch, to be set beside the pooled one.

    Counts add up from the first batch on; after each batch the metric of all counts so far is taken, and the result is
    the mean of these running values, a batch weighing as many as it has cases. So it depends on the order of the cases,
    which the papers do not tell: hand them over by sorted id.

    Raises:
        MethodError: the batch size is below 1, or as `overlap`.

    Source: Keras's evaluate over TensorFlow's streaming mean_iou, whose counts are never reset within one evaluation.
    """
    if batch_size < 1:
        raise MethodError(f"a batch has 1 case or more, not {batch_size}", hint=f"Theirs had {STREAM_BATCH}")
    pairs, counts, running = _paired(probabilities, truths), _NO_LEVELS, 0.0
    for first in range(0, len(pairs), batch_size):
        batch = pairs[first : first + batch_size]
        counts = sum((_levels(*pair) for pair in batch), counts)
        running += len(batch) * _two_class_iou(counts)
    return running / len(pairs) if pairs else math.nan


def _pooled_iou(cases: list[Overlap]) -> float:
    return sum(cases, NOTHING).iou(empty=math.nan)


def _pooled_dice(cases: list[Overlap]) -> float:
    return sum(cases, NOTHING).dice(empty=math.nan)


def _one_iou(case: Overlap) -> float:
    return case.iou(empty=1.0)


def _one_dice(case: Overlap) -> float:
    return case.dice(empty=1.0)


def _one_positive_dice(case: Overlap) -> float:
    return case.dice(empty=1.0) if case.true else math.nan


def _mean_over(per_case: Callable[[Overlap], float]) -> Callable[[list[Overlap]], float]:
    """Return the mean of `per_case` over the cases for which it is defined."""

    def mean(cases: list[Overlap]) -> float:
        values = [per_case(case) for case in cases]
        return _mean([value for value in values if not math.isnan(value)])

    return mean


@dataclass(frozen=True)
class Metric:
    """A metric that a task card can name."""

    name: str
    kind: Kind
    definition: str
    """One line, for the report's legend."""
    compute: Callable[[Any, Any], float]
    """(predictions, truths) of all cases to the metric."""
    of_overlaps: Callable[[list[Overlap]], float] | None = None
    """The same from the cases' counts alone, where they suffice: what a bootstrap over cases calls."""
    per_case: Callable[[Overlap], float] | None = None
    """One case's value, NaN if undefined, for a metric that is a mean over cases."""
    higher_is_better: bool = True


def _segmentation(
    compute: Callable[[Any, Any], float],
    definition: str,
    pooled: Callable[[list[Overlap]], float] | None = None,
    per_case: Callable[[Overlap], float] | None = None,
) -> Metric:
    of_overlaps = _mean_over(per_case) if per_case else pooled
    return Metric(compute.__name__, "segmentation", definition, compute, of_overlaps, per_case)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auc", "classification", "Area under the ROC curve, all cases pooled; mean over outputs", auc),
        _segmentation(iou_bin, "Foreground IoU at p > 0.5, all voxels pooled", _pooled_iou),
        _segmentation(dice_bin, "Foreground Dice at p > 0.5, all voxels pooled", _pooled_dice),
        _segmentation(iou_case, "Mean over cases of the foreground's IoU; an empty case is 1", per_case=_one_iou),
        _segmentation(dice_case, "Mean over cases of the foreground's Dice; an empty case is 1", per_case=_one_dice),
        _segmentation(dice_positive, "Mean Dice of the cases that hold foreground", per_case=_one_positive_dice),
        _segmentation(mean_iou_keras, "Mean IoU of background and foreground, p > 0.50, 0.55 ... 0.95, pooled"),
    )
}


def score(
    kind: Kind, predictions: Mapping[str, Array], truths: Mapping[str, Array], names: Sequence[str] = ()
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Return every metric of `kind`, and one row a case in the order of the case ids; all of it fit for JSON.

    An undefined metric is None. A classification row holds `case`, `score` and `truth` (a number, or a list where
    there are several outputs, each of which then has its own `auc_<name>` too). A segmentation row holds `case`, the
    per-case metrics, the counts `both`, `predicted` and `true` in voxels, from which the pooled ones can be computed
    again, and `empty`: scored 1 for being empty.

    Args:
        kind: which metrics.
        predictions: case id to scores, () or (C,), or to probabilities in [0, 1], any shape.
        truths: the same ids and shapes, 0 or 1.
        names: classification: of the C outputs, in their order; () where they have none.

    Raises:
        MethodError: a case has no prediction, a prediction no truth, an output no name; or as the metrics do.
        DataError: as the metrics do.
    """
    ids = sorted(truths)
    check_ids(predictions, ids)
    found, true = [np.asarray(predictions[case]) for case in ids], [np.asarray(truths[case]) for case in ids]
    if kind == "classification":
        return _classified(ids, found, true, names)
    counts = [overlap(a, b, case) for case, a, b in zip(ids, found, true, strict=True)]
    metrics = {
        metric.name: _plain(metric.of_overlaps(counts) if metric.of_overlaps else metric.compute(found, true))
        for metric in METRICS.values()
        if metric.kind == kind
    }
    return metrics, [_row(case, each) for case, each in zip(ids, counts, strict=True)]


def _classified(
    ids: list[str], found: list[Array], true: list[Array], names: Sequence[str]
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    outputs = {array.size for array in (*found, *true)}
    if len(outputs) > 1 or (names and outputs != {len(names)}):
        told = f", {len(names)} names" if names else ""
        raise MethodError(f"cases have {', '.join(map(str, sorted(outputs)))} outputs and truths{told}")
    scores, truths = (np.stack([array.reshape(-1) for array in arrays]) for arrays in (found, true))
    areas = output_aucs(scores, truths, names)
    each = {f"auc_{name}": area for name, area in zip(names, areas, strict=True)} if len(areas) > 1 and names else {}
    return {"auc": _mean(areas), **each}, [
        {"case": case, "score": a.squeeze().tolist(), "truth": b.squeeze().astype(int).tolist()}
        for case, a, b in zip(ids, scores, truths, strict=True)
    ]


def _row(case: str, counts: Overlap) -> dict[str, Any]:
    values = {m.name: _plain(m.per_case(counts)) for m in METRICS.values() if m.per_case}
    sizes = {"both": counts.both, "predicted": counts.predicted, "true": counts.true}
    return {"case": case, **values, **sizes, "empty": counts.empty}


_NO_LEVELS: NDArray[np.int64] = np.zeros((2, len(KERAS_THRESHOLDS) + 1), dtype=np.int64)


def _levels(probabilities: Array, truth: Array) -> NDArray[np.int64]:
    """Return (background and foreground, 11): how many of a case's voxels exceed 0 to 10 of Keras's thresholds."""
    values, true = (array.ravel() for array in checked(probabilities, truth, "a case"))
    exceeded = np.searchsorted(KERAS_THRESHOLDS, values, side="left")
    return np.stack([np.bincount(exceeded[part], minlength=_NO_LEVELS.shape[1]) for part in (~true, true)])


def _two_class_iou(levels: NDArray[np.int64]) -> float:
    """Return the mean over thresholds of both classes' mean IoU; NaN without a voxel."""
    if not levels.any():
        return math.nan
    totals = levels.sum(axis=1)
    above = totals[:, None] - np.cumsum(levels, axis=1)[:, :-1]
    return float(np.mean([_iou_of_both(*totals.tolist(), *pair) for pair in above.T.tolist()]))


def _iou_of_both(background: int, foreground: int, false: int, hit: int) -> float:
    """Return the mean IoU of both classes where `false` of `background` and `hit` of `foreground` are predicted."""
    rejected, wrong = background - false, false + foreground - hit
    return _mean([right / (right + wrong) for right in (hit, rejected) if right + wrong])


def _overlaps(probabilities: Cases, truths: Cases) -> list[Overlap]:
    return [overlap(probability, truth) for probability, truth in _paired(probabilities, truths)]


def _paired(probabilities: Cases, truths: Cases) -> list[tuple[Array, Array]]:
    if len(probabilities) != len(truths):
        raise MethodError(f"{len(probabilities)} predictions for {len(truths)} cases")
    return list(zip(probabilities, truths, strict=True))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
