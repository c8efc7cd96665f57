"""The score of the best constant prediction: what a network has to beat to have learnt anything from the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import key_of
from sg_bench.errors import DataError, SgBenchError
from sg_bench.evaluation.metrics import higher_is_better
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.scoring import Scoring, score_predictions
from sg_bench.ledger import Record
from sg_bench.workspace import Workspace

_Arrays = dict[str, NDArray[Any]]
SHARES = (0.25, 0.5, 0.75)
"""Shares of the cases in which a voxel is foreground, above which one mask for all cases holds it."""


def constant_score(scoring: Scoring, metric: str, found: Predictions) -> float | None:
    """Return the best score that one prediction for all test cases has, in the unit of the metric; None if undefined.

    Constants of a classification are the frequency of each output, of a regression the mean and the median, of a
    segmentation nothing, everything and, where all cases have one shape, the voxels that are foreground in more than a
    share of the cases. As they are made from the test cases, one made from training cases hardly scores more.

    Args:
        scoring: of the task.
        metric: one that the scores of this task have.
        found: predictions of any network for the test cases; only their truths are used.
    """
    alone = replace(scoring, named=frozenset({metric}))
    scores = []
    for constant in _constants(scoring, found.truths):
        try:
            metrics, _ = score_predictions(alone, Predictions(constant, found.truths, found.spacings))
        except SgBenchError:  # undefined, such as the AUC of one class
            continue
        score = metrics.get(metric)
        scores += [] if score is None else [score]
    return (max if higher_is_better(metric) else min)(scores, default=None)


def constant_scores(records: Iterable[Record], workspace: Workspace) -> dict[str, float]:
    """Return the headline's score of the best constant prediction by the key of a finished cell.

    Cells without predictions, or with damaged ones, are left out; those of one task and test set share one score.
    """
    known: dict[str, float | None] = {}
    found = {}
    for record in records:
        task, outputs = record["recipe"]["task"], record["outputs"]
        place = key_of({"task": task, "split": outputs.get("split"), "store": outputs.get("store")})
        if place not in known:
            try:
                predictions = Predictions.load(workspace.path("predictions", f"{record['key']}.npz"))
            except DataError:
                continue
            known[place] = constant_score(Scoring.of(task), record["headline"], predictions)
        score = known[place]
        if score is not None:
            found[record["key"]] = score
    return found


def _constants(scoring: Scoring, truths: _Arrays) -> Iterator[_Arrays]:
    """Yield constant predictions, each as arrays by case."""
    if scoring.kind == "segmentation":
        for value in (0, 1):
            yield {case: np.full_like(truth, value) for case, truth in truths.items()}
    if len({truth.shape for truth in truths.values()}) > 1:
        return
    stack = np.stack(list(truths.values())).astype(np.float32)
    mean = stack.mean(axis=0)
    of_kind = {
        "segmentation": [(mean > share).astype(np.uint8) for share in SHARES],
        "classification": [mean],
        "regression": [mean, np.median(stack, axis=0)],
    }
    for constant in of_kind[scoring.kind]:
        yield dict.fromkeys(truths, constant)
