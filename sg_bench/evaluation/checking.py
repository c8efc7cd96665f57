"""What can be scored: finite probabilities, truths of 0 and 1, as many of one as of the other. All else is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.errors import DataError, MethodError

Array = NDArray[Any]


def checked(probabilities: Array, truth: Array, name: str) -> tuple[Array, Array]:
    """Return the probabilities of one case as float32 in [0, 1], and its truth as a mask of the same shape.

    Raises:
        MethodError: shapes differ, or a probability is NaN or outside [0, 1].
        DataError: the truth holds something else than 0 and 1.
    """
    probabilities, truth = np.asarray(probabilities, dtype=np.float32), np.asarray(truth)
    check_shapes(probabilities, truth, f"the prediction of {name}")
    check_finite(probabilities, f"the prediction of {name}")
    if probabilities.size and (probabilities.min() < 0 or probabilities.max() > 1):
        low, high = probabilities.min(), probabilities.max()
        raise MethodError(
            f"the prediction of {name} spans {low:.4g} to {high:.4g}, not [0, 1]", hint="Hand over sigmoids, not logits"
        )
    return probabilities, as_mask(truth, f"the truth of {name}")


def as_mask(truth: Array, what: str) -> Array:
    """Return a truth as booleans.

    Raises:
        DataError: it holds something else than 0 and 1.
    """
    mask = truth.astype(bool)
    if truth.dtype != np.bool_ and not np.array_equal(mask, truth):
        shown = np.unique(truth)[:5].tolist()
        raise DataError(f"{what} must be 0 or 1, not {shown}", hint="Merge the labels into one foreground first")
    return mask


def check_shapes(prediction: Array, truth: Array, what: str) -> None:
    """Raise a MethodError where a prediction has another shape than its truth."""
    if prediction.shape != truth.shape:
        raise MethodError(f"{what} has the shape {prediction.shape}, its truth {truth.shape}")


def check_finite(values: Array, what: str) -> None:
    """Raise a MethodError where a value is NaN or infinite."""
    wrong = values.size - np.count_nonzero(np.isfinite(values))
    if wrong:
        raise MethodError(
            f"{wrong} of {values.size} values in {what} are NaN or infinite", hint="The fine-tuning diverged"
        )


def check_two_classes(truths: Array, names: Sequence[str] = ()) -> None:
    """Raise unless every output has positive and negative cases, as an AUC needs them.

    Whoever divides the cases can ask this of a test part before anything is trained.

    Args:
        truths: (N,) or (N, C), 0 or 1.
        names: of the C outputs; else they are called by their numbers.

    Raises:
        DataError: names every output whose truths are of one class.
    """
    columns = np.asarray(truths).reshape(len(truths), -1).astype(bool)
    cases, positive = len(columns), columns.sum(axis=0)
    single = [output for output in range(columns.shape[1]) if positive[output] in (0, cases)]
    if not single:
        return
    if columns.shape[1] == 1:
        told, hint = f"{positive[0]} of {cases} cases are positive", "Check the split, or score more cases"
    else:
        called = names or [f"output {output}" for output in range(columns.shape[1])]
        first, *others = (f"{positive[output]} {{}}for {called[output]}" for output in single)
        each = ", ".join([first.format("are positive "), *(other.format("") for other in others)])
        told = f"of {cases} cases {each}"
        hint = (
            "Stratify the split, make fewer folds, or take these out of the card's findings: "
            "a mean over fewer findings is another metric"
        )
    raise DataError(f"AUC needs positive and negative cases; {told}", hint=hint)


def check_ids(predictions: Mapping[str, Array], ids: Sequence[str]) -> None:
    """Raise unless every case has a prediction, and every prediction a case.

    Raises:
        DataError: there is no case.
        MethodError: names the cases of which one is lacking.
    """
    if not ids:
        raise DataError("there is not one case to score", hint="Check the test split")
    absent, extra = sorted(set(ids) - set(predictions)), sorted(set(predictions) - set(ids))
    if absent or extra:
        raise MethodError(
            f"{len(absent)} cases have no prediction {absent[:3]}, {len(extra)} predictions have no truth {extra[:3]}"
        )
