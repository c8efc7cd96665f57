"""The best constant prediction, which a network has to beat, scored by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.evaluation.constants import constant_score, constant_scores
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.scoring import Scoring
from sg_bench.ledger import Ledger
from sg_bench.workspace import Workspace
from tests.evaluation.scored_cells import put


def truths(*values: Any, kind: Any = np.uint8) -> Predictions:
    each = {f"case{number}": np.asarray(value, kind) for number, value in enumerate(values)}
    return Predictions(each, each)


def test_of_masks_everything_is_better_than_nothing() -> None:
    halves = truths([[1, 1], [0, 0]], [[0, 0], [1, 1]])
    assert constant_score(Scoring("segmentation"), "iou_bin", halves) == pytest.approx(0.5)


def test_of_masks_that_lie_alike_their_common_voxels_are_best() -> None:
    alike = truths([1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0])
    assert constant_score(Scoring("segmentation"), "iou_bin", alike) == pytest.approx(5 / 6)


def test_masks_of_several_shapes_are_compared_with_nothing_and_everything_alone() -> None:
    found = truths([1, 1, 0, 0], [1, 0])
    assert constant_score(Scoring("segmentation"), "iou_bin", found) == pytest.approx(3 / 6)
    empty = truths([0, 0], [0], [1, 1, 1])
    assert constant_score(Scoring("segmentation"), "dice_case", empty) == pytest.approx(2 / 3)


def test_of_classes_the_area_is_a_half() -> None:
    assert constant_score(Scoring("classification"), "auc", truths(0, 1, 1, 1)) == 0.5
    assert constant_score(Scoring("classification"), "auc", truths(1, 1)) is None


def test_where_less_is_better_the_least_error_is_best() -> None:
    ages = truths([1.0], [2.0], [9.0], kind=np.float32)
    assert constant_score(Scoring("regression"), "mae", ages) == pytest.approx(
        8 / 3
    )  # of the median; the mean has 10/3


def test_cells_of_one_test_set_share_a_score_and_those_without_predictions_have_none(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    keys = [put(work, "ncs", seed) for seed in (0, 1)] + [put(work, "ncc")]
    work.path("predictions", f"{keys[2]}.npz").unlink()
    found = constant_scores([Ledger(work).get(key) or {} for key in keys], work)
    assert found.keys() == {*keys[:2]}
    assert found[keys[0]] == found[keys[1]] > 0
