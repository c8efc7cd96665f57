"""Metrics of all cases together, from probabilities and truths: of one test set, or of many bootstrapped ones at once.

Each function returns a value for each row of `weights`, which says how often each case is in a test set. NaN: it is
undefined, as without a positive or without a negative case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
OutputMetric = Callable[[_Floats, NDArray[np.bool_], _Floats], _Floats]
"""(N,) scores, (N,) truths, (R, N) weights -> (R,)."""
BINS = 15
"""Of the expected calibration error, equally wide."""
LEAST_SPECIFICITY = 0.9
_TOLERANCE = 1e-9
"""Of a share of cases: 0.9 is not 9 / 10 in binary."""


def average_precision(scores: _Floats, truths: NDArray[np.bool_], weights: _Floats) -> _Floats:
    """Return the sum over thresholds of precision times the rise of recall, as scikit-learn defines it."""
    positives, negatives = _above(scores, truths, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(positives / (positives + negatives))
        rises = np.diff(positives, axis=1, prepend=0)
        area: _Floats = (precision * rises).sum(axis=1) / positives[:, -1]
    return area


def sensitivity_at_specificity(scores: _Floats, truths: NDArray[np.bool_], weights: _Floats) -> _Floats:
    """Return the greatest share of positives above a threshold that leaves 90 % of the negatives below it."""
    positives, negatives = _above(scores, truths, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        allowed = negatives / negatives[:, -1:] <= 1 - LEAST_SPECIFICITY + _TOLERANCE
        share = np.where(allowed, positives, 0).max(axis=1) / positives[:, -1]
        out: _Floats = np.where(negatives[:, -1] > 0, share, np.nan)
    return out


def balanced_accuracy(scores: _Floats, truths: NDArray[np.bool_], weights: _Floats) -> _Floats:
    """Return the mean of sensitivity and specificity at p > 0.5."""
    return _mean_recall(scores > 0.5, truths, weights)


def brier(scores: _Floats, truths: NDArray[np.bool_], weights: _Floats) -> _Floats:
    """Return the mean squared difference of probability and truth."""
    return _mean((scores - truths) ** 2, weights)


def calibration_error(scores: _Floats, truths: NDArray[np.bool_], weights: _Floats) -> _Floats:
    """Return the mean over bins of |frequency - mean probability|, weighted by cases.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), equation 3.
    """
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = np.zeros((len(scores), BINS))
    gaps[np.arange(len(scores)), bins] = truths - scores
    error: _Floats = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
    return error


OUTPUT_METRICS: dict[str, OutputMetric] = {
    "auprc": average_precision,
    "balanced_accuracy": balanced_accuracy,
    "sensitivity_at_specificity_90": sensitivity_at_specificity,
    "brier": brier,
    "ece": calibration_error,
}
"""Metrics of each output of a classification, whose mean is the metric of all."""


def class_metric(name: str, scores: _Floats, truths: NDArray[np.bool_], weights: _Floats) -> _Floats | None:
    """Return a metric of exclusive classes that is no mean over them; None for one that is.

    Args:
        name: of the metric.
        scores: (N, K) probabilities, whose sum is 1.
        truths: (N, K), one true in each row.
        weights: (R, N).
    """
    chosen = scores.argmax(axis=1)
    if name == "balanced_accuracy":
        hit = truths[np.arange(len(chosen)), chosen]
        with np.errstate(invalid="ignore", divide="ignore"):
            recalls = (weights @ (truths & hit[:, None]).astype(float)) / (weights @ truths.astype(float))
        out: _Floats = recalls.mean(axis=1)
        return out
    if name == "brier":
        return _mean(((scores - truths) ** 2).sum(axis=1) / 2, weights)
    if name == "ece":
        rows = np.arange(len(chosen))
        return calibration_error(scores[rows, chosen], truths[rows, chosen], weights)
    return None


def classification_metric(
    name: str, scores: _Floats, truths: NDArray[np.bool_], weights: _Floats, *, exclusive: bool
) -> tuple[_Floats, _Floats | None]:
    """Return a metric of a classification, (R,), and that of each output, (R, K), where it is the mean of these.

    Args:
        name: one of `OUTPUT_METRICS`.
        scores: (N, K) probabilities.
        truths: (N, K).
        weights: (R, N).
        exclusive: whether the outputs are classes of which a case has one.
    """
    if exclusive and (whole := class_metric(name, scores, truths, weights)) is not None:
        return whole, None
    each = np.stack([OUTPUT_METRICS[name](s, t, weights) for s, t in zip(scores.T, truths.T, strict=True)], axis=1)
    return each.mean(axis=1), each


def r2(predictions: _Floats, truths: _Floats, weights: _Floats) -> _Floats:
    """Return 1 - sum of squared residuals / sum of squared deviations from the truths' mean, (R,)."""
    residual = weights @ (truths - predictions) ** 2
    total = weights.sum(axis=1)
    shifted = truths - truths.mean()
    spread = weights @ shifted**2 - (weights @ shifted) ** 2 / total
    flat = spread <= 1e-12 * total * max(1e-300, float((shifted**2).max(initial=0)))
    with np.errstate(invalid="ignore", divide="ignore"):
        out: _Floats = np.where(flat, np.nan, 1 - residual / spread)
    return out


def _above(scores: _Floats, truths: NDArray[np.bool_], weights: _Floats) -> tuple[_Floats, _Floats]:
    """Return (R, thresholds): positives, and negatives, whose score is at least each distinct score, falling."""
    order = np.argsort(-scores, kind="stable")
    ordered, drawn = scores[order], weights[:, order]
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    positive = truths[order]
    counts = (np.cumsum(drawn * own, axis=1)[:, last] for own in (positive, ~positive))
    positives, negatives = counts
    return positives, negatives


def _mean_recall(predicted: NDArray[np.bool_], truths: NDArray[np.bool_], weights: _Floats) -> _Floats:
    def recalls() -> Iterator[_Floats]:
        for true, right in ((truths, predicted), (~truths, ~predicted)):
            yield (weights @ (true & right).astype(float)) / (weights @ true.astype(float))

    with np.errstate(invalid="ignore", divide="ignore"):
        found: _Floats = np.mean(list(recalls()), axis=0)
    return found


def _mean(values: _Floats, weights: _Floats) -> _Floats:
    out: _Floats = (weights @ values) / weights.sum(axis=1)
    return out
