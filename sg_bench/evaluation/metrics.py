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

from sg_bench.errors import DataError, MethodError

Array = NDArray[Any]
Cases = Sequence[Array]
"""One array a case; shapes may differ from case to case."""
Kind = Literal["classification", "segmentation"]

KERAS_THRESHOLDS: NDArray[np.float32] = np.array([i / 100 for i in range(50, 100, 5)], dtype=np.float32)


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
    """Return the area under the ROC curve over all cases pooled; ties count one half.

    Args:
        scores: (N,) or (N, C), any finite numbers, higher meaning more positive. With C columns the result is the
            unweighted mean over columns.
        truths: the same shape, 0 or 1.

    Raises:
        MethodError: a score is NaN or infinite, or the shapes differ.
        DataError: a column's truths are of one class, so that the area is undefined.
    """
    from sklearn.metrics import roc_auc_score

    score, truth = (np.asarray(array).reshape(len(array), -1) for array in (scores, truths))
    _check_shapes(score, truth, "the scores")
    _check_finite(score, "the scores")
    columns = [(score[:, i].astype(np.float64), _as_mask(truth[:, i], "the truths")) for i in range(score.shape[1])]
    for index, (_, column) in enumerate(columns):
        _check_two_classes(column, index, len(columns))
    return float(np.mean([roc_auc_score(column, values) for values, column in columns]))


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
    predicted, true = _checked(probabilities, truth, name)
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

    Voxels of all cases are pooled. The original accumulates over batches and averages the running values; that
    depends on the order of batches and is not reproduced. A class that neither prediction nor truth holds is left out
    of its threshold's mean.

    Source: `mean_iou` of the Models Genesis code, which printed the papers' IoU columns.
    """
    background, foreground = np.zeros((2, len(KERAS_THRESHOLDS) + 1), dtype=np.int64)
    for probability, truth in _paired(probabilities, truths):
        levels, true = _levels(*_checked(probability, truth, "a case"))
        foreground += np.bincount(levels[true], minlength=len(foreground))
        background += np.bincount(levels[~true], minlength=len(background))
    if not foreground.sum() + background.sum():
        return math.nan
    return float(np.mean([_two_class_iou(background, foreground, level) for level in range(len(KERAS_THRESHOLDS))]))


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
    kind: Kind, predictions: Mapping[str, Array], truths: Mapping[str, Array]
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Return every metric of `kind`, and one row a case in the order of the case ids; all of it fit for JSON.

    An undefined metric is None. A classification row holds `case`, `score` and `truth` (a number, or a list where
    there are several outputs). A segmentation row holds `case`, the per-case metrics, the counts `both`, `predicted`
    and `true` in voxels, from which the pooled ones can be computed again, and `empty`: scored 1 for being empty.

    Args:
        kind: which metrics.
        predictions: case id to scores, () or (C,), or to probabilities in [0, 1], any shape.
        truths: the same ids and shapes, 0 or 1.

    Raises:
        MethodError: a case has no prediction, or a prediction no truth; or as the metrics do.
        DataError: as the metrics do.
    """
    ids = sorted(truths)
    _check_ids(predictions, ids)
    found, true = [np.asarray(predictions[case]) for case in ids], [np.asarray(truths[case]) for case in ids]
    if kind == "classification":
        return {"auc": auc(np.stack(found), np.stack(true))}, [
            {"case": case, "score": a.squeeze().tolist(), "truth": b.squeeze().astype(int).tolist()}
            for case, a, b in zip(ids, found, true, strict=True)
        ]
    counts = [overlap(a, b, case) for case, a, b in zip(ids, found, true, strict=True)]
    metrics = {
        metric.name: _plain(metric.of_overlaps(counts) if metric.of_overlaps else metric.compute(found, true))
        for metric in METRICS.values()
        if metric.kind == kind
    }
    return metrics, [_row(case, each) for case, each in zip(ids, counts, strict=True)]


def _row(case: str, counts: Overlap) -> dict[str, Any]:
    values = {m.name: _plain(m.per_case(counts)) for m in METRICS.values() if m.per_case}
    sizes = {"both": counts.both, "predicted": counts.predicted, "true": counts.true}
    return {"case": case, **values, **sizes, "empty": counts.empty}


def _levels(probabilities: Array, true: Array) -> tuple[Array, Array]:
    """Return how many Keras thresholds each probability exceeds (0 to 10), and the truth, both flat."""
    return np.searchsorted(KERAS_THRESHOLDS, probabilities.ravel(), side="left"), true.ravel()


def _two_class_iou(background: Array, foreground: Array, level: int) -> float:
    """Return the mean IoU of both classes when voxels above threshold number `level` are predicted."""
    hit, false = int(foreground[level + 1 :].sum()), int(background[level + 1 :].sum())
    missed, rejected = int(foreground.sum()) - hit, int(background.sum()) - false
    wrong = false + missed
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


def _checked(probabilities: Array, truth: Array, name: str) -> tuple[Array, Array]:
    """Return the probabilities as float32 and the truth as a mask, or raise."""
    probabilities, truth = np.asarray(probabilities, dtype=np.float32), np.asarray(truth)
    _check_shapes(probabilities, truth, f"the prediction of {name}")
    _check_finite(probabilities, f"the prediction of {name}")
    if probabilities.size and (probabilities.min() < 0 or probabilities.max() > 1):
        low, high = probabilities.min(), probabilities.max()
        raise MethodError(
            f"the prediction of {name} spans {low:.4g} to {high:.4g}, not [0, 1]", hint="Hand over sigmoids, not logits"
        )
    return probabilities, _as_mask(truth, f"the truth of {name}")


def _as_mask(truth: Array, what: str) -> Array:
    mask = truth.astype(bool)
    if truth.dtype != np.bool_ and not np.array_equal(mask, truth):
        shown = np.unique(truth)[:5].tolist()
        raise DataError(f"{what} must be 0 or 1, not {shown}", hint="Merge the labels into one foreground first")
    return mask


def _check_shapes(prediction: Array, truth: Array, what: str) -> None:
    if prediction.shape != truth.shape:
        raise MethodError(f"{what} has the shape {prediction.shape}, its truth {truth.shape}")


def _check_finite(values: Array, what: str) -> None:
    wrong = values.size - np.count_nonzero(np.isfinite(values))
    if wrong:
        raise MethodError(
            f"{wrong} of {values.size} values in {what} are NaN or infinite", hint="The fine-tuning diverged"
        )


def _check_two_classes(truths: Array, column: int, columns: int) -> None:
    positive = int(truths.sum())
    if 0 < positive < len(truths):
        return
    where = f" of output {column}" if columns > 1 else ""
    raise DataError(
        f"AUC needs positive and negative cases; {positive} of {len(truths)} cases{where} are positive",
        hint="Check the split, or score more cases",
    )


def _check_ids(predictions: Mapping[str, Array], ids: list[str]) -> None:
    if not ids:
        raise DataError("there is not one case to score", hint="Check the test split")
    absent, extra = sorted(set(ids) - set(predictions)), sorted(set(predictions) - set(ids))
    if absent or extra:
        raise MethodError(
            f"{len(absent)} cases have no prediction {absent[:3]}, {len(extra)} predictions have no truth {extra[:3]}"
        )
