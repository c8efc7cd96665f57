"""Scores of a task's predictions: which metrics a card asks for, and their values with one row a case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.errors import DataError, MethodError
from sg_bench.evaluation.checking import check_finite, check_ids, check_shapes
from sg_bench.evaluation.metrics import METRICS, Overlap, overlap, score
from sg_bench.evaluation.pooled import OUTPUT_METRICS, classification_metric, r2
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.surfaces import SURFACE_METRICS
from sg_bench.tasks import TaskKind

Scores = tuple[dict[str, float | None], list[dict[str, Any]]]
"""Metrics of all cases, None where undefined, and one row a case."""


@dataclass(frozen=True)
class Scoring:
    """What of a task decides which metrics there are."""

    kind: TaskKind
    names: tuple[str, ...] = ()
    """Of findings, classes or regions, where there are several."""
    exclusive: bool = False
    """Whether a case, or a voxel, is of one class."""
    by_column: bool = False
    """classification: by the classes in a column of a table."""
    named: frozenset[str] = frozenset()
    """Metrics that the card names."""

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Scoring:
        """Return the scoring of a task from its `key_content()`, which a record holds."""
        kind, classes = task.get("kind", "classification"), task.get("classes") or ()  # early records name no kind
        if isinstance(classes, Mapping):
            classes = tuple(name for _, name in sorted(classes.items(), key=lambda each: int(each[0])))
        if kind == "segmentation":
            names, exclusive = (*classes, *sorted(task.get("regions") or ())), bool(classes)
        else:
            exclusive = len(classes) > 2
            names = tuple(classes) if exclusive else tuple(task.get("findings") or ())
        secondary = task.get("secondary") or task.get("beside") or ()
        named = {task.get("headline"), task.get("parity"), *secondary} - {None}
        return cls(kind, names, exclusive, bool(task.get("label_column")), frozenset(named))

    @property
    def several_masks(self) -> bool:
        """Whether a segmentation has classes or regions, with one mask each."""
        return self.kind == "segmentation" and bool(self.names)

    @property
    def surfaces(self) -> tuple[str, ...]:
        """The metrics of surfaces that the card names, of all or of one class."""
        return tuple(name for name in SURFACE_METRICS if any(_is_of(each, name) for each in self.named))

    def metrics(self) -> list[str]:
        """Return the names of all metrics that a card can name."""
        return [
            each
            for name, metric in METRICS.items()
            if metric.kind == self.kind and self._applies(name)
            for each in (name, *(f"{metric.stem}_{output}" for output in self._outputs(name)))
        ]

    def _applies(self, name: str) -> bool:
        if self.kind != "segmentation" or name in SURFACE_METRICS:
            return True
        return METRICS[name].always != self.several_masks

    def _outputs(self, name: str) -> tuple[str, ...]:
        """Return the outputs that have a value of their own of a metric."""
        whole = self.exclusive and name in ("balanced_accuracy", "brier", "ece")
        return () if whole or (self.kind != "segmentation" and len(self.names) < 2) else self.names


def score_predictions(scoring: Scoring, found: Predictions) -> Scores:
    """Return the metrics of a task's test cases, and one row a case in the order of the ids, ready for JSON.

    A regression's row holds `case`, `score` (the prediction), `truth` and `mae`; a segmentation of several masks has
    `dice_<name>` and `iou_<name>` of each, None where neither truth nor prediction holds it. Other rows are those of
    `metrics.score`. `hd95` and `nsd` are added where the card names them.

    Raises:
        MethodError: predictions do not fit the truths, or are NaN or out of range.
        DataError: there is no case, a truth is not 0 or 1, or an AUC is undefined.
    """
    if scoring.kind == "regression":
        return _score_regression(found)
    if scoring.several_masks:
        return _score_masks(scoring, found)
    metrics, rows = score(scoring.kind, found.probabilities, found.truths, scoring.names)
    if scoring.kind == "classification":
        return {**metrics, **_further(scoring, rows)}, rows
    for name in scoring.surfaces:
        for row in rows:
            case = row["case"]
            predicted = np.asarray(found.probabilities[case], np.float32) > np.float32(0.5)
            row[name] = _distance(name, predicted, found.truths[case], found.spacing(case))
        metrics[name] = _mean(row[name] for row in rows)
    return metrics, rows


def _score_regression(found: Predictions) -> Scores:
    ids = sorted(found.truths)
    check_ids(found.probabilities, ids)
    predicted, true = (
        np.array([np.asarray(each[case], np.float64).reshape(-1) for case in ids])
        for each in (found.probabilities, found.truths)
    )
    check_shapes(predicted, true, "the predictions")
    check_finite(predicted, "the predictions")
    errors = np.abs(predicted - true)
    share = float(r2(predicted[:, 0], true[:, 0], np.ones((1, len(ids))))[0])
    rows = [
        {"case": case, "score": float(p), "truth": float(t), "mae": float(e)}
        for case, p, t, e in zip(ids, predicted[:, 0], true[:, 0], errors[:, 0], strict=True)
    ]
    return {"mae": float(errors.mean()), "r2": None if math.isnan(share) else share}, rows


def _further(scoring: Scoring, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return a classification's metrics besides its AUC: all if it is by a column, else those that the card names."""
    wanted = [name for name in OUTPUT_METRICS if scoring.by_column or any(_is_of(each, name) for each in scoring.named)]
    scores, truths = (
        np.array([row[name] for row in rows], np.float64).reshape(len(rows), -1) for name in ("score", "truth")
    )
    metrics: dict[str, float | None] = {}
    if wanted and (scores.min() < 0 or scores.max() > 1):
        raise MethodError(
            f"the predictions span {scores.min():.4g} to {scores.max():.4g}, not [0, 1]",
            hint="Pass probabilities, not logits",
        )
    for name in wanted:
        whole, each = classification_metric(
            name, scores, truths > 0, np.ones((1, len(rows))), exclusive=scoring.exclusive
        )
        metrics[name] = _none_if_nan(float(whole[0]))
        if each is not None and len(scoring.names) > 1:
            metrics |= {f"{name}_{o}": _none_if_nan(float(v)) for o, v in zip(scoring.names, each[0], strict=True)}
    return metrics


def _score_masks(scoring: Scoring, found: Predictions) -> Scores:
    ids = sorted(found.truths)
    check_ids(found.probabilities, ids)
    rows = []
    for case in ids:
        predicted, true = np.asarray(found.probabilities[case]), np.asarray(found.truths[case])
        if len(true) != len(scoring.names):
            raise MethodError(f"the truth of {case} has {len(true)} masks, and the task {len(scoring.names)} names")
        check_shapes(predicted, true, f"the prediction of {case}")
        row: dict[str, Any] = {"case": case}
        for name, mask, truth in zip(scoring.names, predicted, true, strict=True):
            row |= _mask_row(name, overlap(mask, truth, case))
            for metric in scoring.surfaces:
                row[f"{metric}_{name}"] = _distance(metric, mask > 0, truth, found.spacing(case))
        rows.append(row)
    metrics: dict[str, float | None] = {}
    for name, stem in (("dice_mean", "dice"), ("iou_mean", "iou"), *((each, each) for each in scoring.surfaces)):
        each = {f"{stem}_{output}": _mean(row[f"{stem}_{output}"] for row in rows) for output in scoring.names}
        metrics |= {name: _plain_mean(each.values()), **each}
    return metrics, rows


def _mask_row(name: str, counts: Overlap) -> dict[str, float | int | None]:
    """Return a case's values of one class; None where neither truth nor prediction holds it, which rewards nothing."""
    return {
        f"dice_{name}": _none_if_nan(counts.dice(empty=math.nan)),
        f"iou_{name}": _none_if_nan(counts.iou(empty=math.nan)),
        f"true_{name}": counts.true,
    }


def _distance(
    metric: str, predicted: NDArray[Any], truth: NDArray[Any], spacing: tuple[float, ...] | None
) -> float | None:
    if spacing is None:
        raise DataError(f"{metric} needs the spacing of each case, which these predictions lack", hint="Run again")
    return _none_if_nan(SURFACE_METRICS[metric](predicted, truth, spacing))


def _is_of(name: str, metric: str) -> bool:
    """Return whether a name is a metric's, or that of one output's value of it."""
    return name == metric or name.startswith(f"{metric}_")


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are defined; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _plain_mean(values: Iterable[float | None]) -> float | None:
    """Return the mean; None if a value is undefined."""
    known = list(values)
    return None if None in known else _mean(known)


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
