"""Checks of predictions and truths before they are scored, with errors that name the case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.errors import DataError, MethodError


def checked(probabilities: NDArray[Any], truth: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the probabilities of one case as float32, and its truth as a boolean mask.

    Raises:
        MethodError: the shapes differ, or a probability is NaN or outside [0, 1].
        DataError: the truth holds other values than 0 and 1.
    """
    probabilities, truth = np.asarray(probabilities, dtype=np.float32), np.asarray(truth)
    check_shapes(probabilities, truth, f"the prediction of {name}")
    check_finite(probabilities, f"the prediction of {name}")
    if probabilities.size and (probabilities.min() < 0 or probabilities.max() > 1):
        low, high = probabilities.min(), probabilities.max()
        raise MethodError(
            f"the prediction of {name} spans {low:.4g} to {high:.4g}, not [0, 1]", hint="Pass sigmoids, not logits"
        )
    return probabilities, as_mask(truth, f"the truth of {name}")


def as_mask(truth: NDArray[Any], what: str) -> NDArray[Any]:
    """Return a truth as booleans.

    Raises:
        DataError: it holds other values than 0 and 1.
    """
    mask = truth.astype(bool)
    if truth.dtype != np.bool_ and not np.array_equal(mask, truth):
        shown = np.unique(truth)[:5].tolist()
        raise DataError(f"{what} must be 0 or 1, not {shown}", hint="Merge the labels into one foreground first")
    return mask


def check_shapes(prediction: NDArray[Any], truth: NDArray[Any], what: str) -> None:
    """Raise a MethodError if a prediction and its truth differ in shape."""
    if prediction.shape != truth.shape:
        raise MethodError(f"{what} has the shape {prediction.shape}, its truth {truth.shape}")


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raise a MethodError if a value is NaN or infinite."""
    wrong = values.size - np.count_nonzero(np.isfinite(values))
    if wrong:
        raise MethodError(
            f"{wrong} of {values.size} values in {what} are NaN or infinite", hint="The fine-tuning diverged"
        )


def check_two_classes(truths: NDArray[Any], names: Sequence[str] = ()) -> None:
    """Raise unless every output has positive and negative cases, without which it has no AUC.

    Args:
        truths: (N,) or (N, C), 0 or 1.
        names: names of the C outputs for the message; default: their numbers.

    Raises:
        DataError: the truths of some outputs, which it names, are of one class.
    """
    columns = np.asarray(truths).reshape(len(truths), -1).astype(bool)
    cases, positive = len(columns), columns.sum(axis=0)
    single = [output for output in range(columns.shape[1]) if positive[output] in (0, cases)]
    if not single:
        return
    if columns.shape[1] == 1:
        problem, hint = f"{positive[0]} of {cases} cases are positive", "Check the split, or score more cases"
    else:
        labels = names or [f"output {output}" for output in range(columns.shape[1])]
        first, *others = (f"for {labels[output]}" for output in single)
        problem = f"of {cases} cases {positive[single[0]]} are positive {first}"
        problem += "".join(f", {positive[output]} {other}" for output, other in zip(single[1:], others, strict=True))
        hint = (
            "Stratify the split, make fewer folds, or take these out of the card's findings: "
            "a mean over fewer findings is another metric"
        )
    raise DataError(f"AUC needs positive and negative cases; {problem}", hint=hint)


def check_ids(predictions: Mapping[str, NDArray[Any]], ids: Sequence[str]) -> None:
    """Raise unless the predictions are those of all cases and of no others.

    Raises:
        DataError: there is no case.
        MethodError: a case has no prediction, or a prediction no case.
    """
    if not ids:
        raise DataError("there are no cases to score", hint="Check the test split")
    absent, extra = sorted(set(ids) - set(predictions)), sorted(set(predictions) - set(ids))
    if absent or extra:
        raise MethodError(
            f"{len(absent)} cases have no prediction {absent[:3]}, {len(extra)} predictions have no truth {extra[:3]}"
        )
