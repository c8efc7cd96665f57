"""Every metric against numbers worked out by hand, against other libraries, and on the cases that mislead."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sg_bench.errors import DataError, MethodError
from sg_bench.evaluation import metrics
from sg_bench.evaluation.checking import check_two_classes
from sg_bench.evaluation.metrics import METRICS, Overlap, score

TRUTH = np.array([[[1, 1], [1, 0]], [[0, 0], [0, 0]]])
PREDICTION = np.array([[[0.97, 0.72], [0.30, 0.62]], [[0.10, 0.00], [0.20, 0.50]]])
"""At p > 0.5: two hits, one false alarm, one miss, four rejections."""
EMPTY = np.zeros((2, 2, 2))
Array = NDArray[Any]


def of_cases(name: str, predictions: Sequence[Array], truths: Sequence[Array]) -> float:
    """Return a segmentation metric of several cases."""
    of_overlaps = METRICS[name].of_overlaps
    if of_overlaps is None:
        return metrics.mean_iou_keras(predictions, truths)
    return of_overlaps([metrics.overlap(*case) for case in zip(predictions, truths, strict=True)])


def test_pooled_overlap_of_a_small_case_by_hand() -> None:
    assert metrics.overlap(PREDICTION, TRUTH) == Overlap(both=2, predicted=3, true=3)
    assert of_cases("iou_bin", [PREDICTION], [TRUTH]) == pytest.approx(2 / 4)
    assert of_cases("dice_bin", [PREDICTION], [TRUTH]) == pytest.approx(4 / 6)


def test_pooling_over_voxels_differs_from_averaging_over_cases() -> None:
    truths, predictions = [TRUTH, np.ones((1, 3))], [PREDICTION, np.ones((1, 3))]
    assert of_cases("iou_bin", predictions, truths) == pytest.approx(5 / 7)
    assert of_cases("iou_case", predictions, truths) == pytest.approx((1 / 2 + 1) / 2)
    assert of_cases("dice_bin", predictions, truths) == pytest.approx(10 / 12)
    assert of_cases("dice_case", predictions, truths) == pytest.approx((2 / 3 + 1) / 2)


def test_keras_mean_iou_of_a_small_case_by_hand() -> None:
    thresholds = {
        0.50: (2 / 4, 4 / 6),  # hits .97 .72, false alarm .62
        0.55: (2 / 4, 4 / 6),
        0.60: (2 / 4, 4 / 6),
        0.65: (2 / 3, 5 / 6),  # .62 is gone
        0.70: (2 / 3, 5 / 6),
        0.75: (1 / 3, 5 / 7),  # .72 is gone
        0.80: (1 / 3, 5 / 7),
        0.85: (1 / 3, 5 / 7),
        0.90: (1 / 3, 5 / 7),
        0.95: (1 / 3, 5 / 7),
    }
    expected = sum(sum(pair) / 2 for pair in thresholds.values()) / 10
    assert metrics.mean_iou_keras([PREDICTION], [TRUTH]) == pytest.approx(expected)


def test_keras_mean_iou_pools_voxels_of_cases_of_any_shape() -> None:
    flat = [PREDICTION.ravel()[:3], PREDICTION.ravel()[3:]], [TRUTH.ravel()[:3], TRUTH.ravel()[3:]]
    assert metrics.mean_iou_keras(*flat) == pytest.approx(metrics.mean_iou_keras([PREDICTION], [TRUTH]))


def test_nothing_predicted_and_nothing_there() -> None:
    assert math.isnan(of_cases("iou_bin", [EMPTY], [EMPTY]))
    assert math.isnan(of_cases("dice_bin", [EMPTY], [EMPTY]))
    assert of_cases("iou_case", [EMPTY], [EMPTY]) == of_cases("dice_case", [EMPTY], [EMPTY]) == 1
    assert math.isnan(of_cases("dice_positive", [EMPTY], [EMPTY]))
    assert metrics.mean_iou_keras([EMPTY], [EMPTY]) == 1


def test_predicting_nothing_looks_good_on_mostly_negative_cases_but_not_on_the_positive_ones() -> None:
    truths, predictions = [EMPTY, EMPTY, EMPTY, TRUTH], [EMPTY] * 4
    assert of_cases("dice_case", predictions, truths) == pytest.approx(0.75)
    assert of_cases("dice_positive", predictions, truths) == 0


def test_thresholds_are_strict_and_compared_in_float32() -> None:
    truth = np.array([1, 0])
    for kind in (np.float16, np.float32, np.float64):
        assert metrics.overlap(np.array([0.5, 0.0], dtype=kind), truth).predicted == 0
        above = np.nextafter(kind(0.5), kind(1)) if kind is not np.float64 else 0.5 + 1e-7
        assert metrics.overlap(np.array([above, 0.0], dtype=kind), truth).predicted == 1


def test_a_probability_equal_to_a_keras_threshold_does_not_exceed_it() -> None:
    truth, above = np.array([1, 0]), np.nextafter(np.float32(0.55), np.float32(1))
    only_at_50 = (1 + 9 * (0 + 1 / 2) / 2) / 10
    at_50_and_55 = (2 + 8 * (0 + 1 / 2) / 2) / 10
    for kind in (np.float32, np.float64):
        assert metrics.mean_iou_keras([np.array([0.55, 0], dtype=kind)], [truth]) == pytest.approx(only_at_50)
    assert metrics.mean_iou_keras([np.array([above, 0])], [truth]) == pytest.approx(at_50_and_55)


def test_stored_float16_predictions_score_the_same_every_time() -> None:
    stored = np.random.default_rng(0).random((9, 9)).astype(np.float16)
    truth = stored > 0.4
    for metric in METRICS.values():
        if metric.kind == "segmentation" and metric.always:
            assert of_cases(metric.name, [stored], [truth]) == of_cases(
                metric.name, [stored.astype(np.float64)], [truth]
            )


def small_object() -> tuple[Array, Array]:
    truth, prediction = np.zeros((2, 64, 64, 32))
    truth[20:30, 20:30, 10:18] = 1
    prediction[22:32, 20:30, 10:18] = 1
    return prediction, truth


def test_on_a_small_object_the_published_iou_lies_above_the_dice() -> None:
    prediction, truth = small_object()
    assert of_cases("dice_bin", [prediction], [truth]) == pytest.approx(0.8, abs=5e-5)
    assert of_cases("iou_bin", [prediction], [truth]) == pytest.approx(0.6667, abs=5e-5)
    assert metrics.mean_iou_keras([prediction], [truth]) == pytest.approx(0.8321, abs=5e-5)


@pytest.mark.parametrize("sigma", [0.8, 1.0])
def test_blurring_lowers_the_published_iou_and_hardly_the_foregrounds(sigma: float) -> None:
    prediction, truth = small_object()
    blurred = gaussian_filter(prediction, sigma).clip(0, 1)
    assert 0.72 < metrics.mean_iou_keras([blurred], [truth]) < 0.77
    assert 0.62 < of_cases("iou_bin", [blurred], [truth]) < 0.68


def pairs_ranked_right(scores: Array, truths: Array) -> float:
    """Return the Mann-Whitney form of AUC: pairs (positive, negative) in order, a tie counting one half."""
    pairs = list(itertools.product(scores[truths == 1], scores[truths == 0]))
    return float(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))


def test_auc_by_hand_with_a_tie() -> None:
    scores, truths = np.array([0.9, 0.5, 0.5, 0.1]), np.array([1, 1, 0, 0])
    assert metrics.auc(scores, truths) == pytest.approx(3.5 / 4)
    assert metrics.auc(-scores, truths) == pytest.approx(0.5 / 4)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_counts_pairs_in_order(cases: list[tuple[int, bool]]) -> None:
    scores, truths = np.array([s for s, _ in cases]), np.array([t for _, t in cases], dtype=int)
    if 0 < truths.sum() < len(truths):
        assert metrics.auc(scores, truths) == pytest.approx(pairs_ranked_right(scores, truths))
    else:
        with pytest.raises(DataError, match="positive and negative"):
            metrics.auc(scores, truths)


def test_auc_of_several_outputs_is_their_plain_mean() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.1, 0.2]])
    truths = np.array([[1, 0], [0, 1], [0, 1]])
    assert metrics.auc(scores, truths) == pytest.approx((1 + 1) / 2)
    with pytest.raises(DataError, match=r"of 3 cases 3 are positive for output 1\. Stratify"):
        metrics.auc(scores, np.array([[1, 1], [0, 1], [0, 1]]))


def test_auc_of_each_output_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    truths = rng.random((60, 5)) < 0.3
    scores = np.round(rng.normal(truths, 1), 1)
    expected = roc_auc_score(truths, scores, average=None)
    assert metrics.output_aucs(scores, truths) == pytest.approx(list(expected))
    assert metrics.auc(scores, truths) == pytest.approx(roc_auc_score(truths, scores, average="macro"))


CASE = st.tuples(
    arrays(np.float16, (3, 4), elements=st.floats(0, 1, width=16)), arrays(np.bool_, (3, 4), elements=st.booleans())
)


def test_every_segmentation_metric_of_two_small_cases_by_hand() -> None:
    other = np.array([[[0.9, 0.9], [0.1, 0.1]], [[0.1, 0.1], [0.1, 0.1]]])
    there = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 0]]])
    found, _ = score("segmentation", {"a": PREDICTION, "b": other}, {"a": TRUTH, "b": there})
    # a: 2 hits, 3 predicted, 3 true; b: 1 hit, 2 predicted, 1 true
    assert found["iou_bin"] == pytest.approx(3 / (5 + 4 - 3))
    assert found["dice_bin"] == pytest.approx(2 * 3 / (5 + 4))
    assert found["iou_case"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert found["dice_case"] == found["dice_positive"] == pytest.approx((4 / 6 + 2 / 3) / 2)
    # foreground, background at t up to .60; up to .70; up to .85 (.72 is gone); up to .95 (both .90 of b are gone)
    thresholds = 3 * [(3 / 6, 10 / 13)] + 2 * [(3 / 5, 11 / 13)] + 3 * [(2 / 5, 11 / 14)] + 2 * [(1 / 4, 12 / 15)]
    assert found["mean_iou_keras"] == pytest.approx(np.mean(thresholds))


class TestStream:
    """Three cases of one pixel row: the first is all right, the second all wrong, the third right again."""

    TRUTHS = [np.array([1, 0]), np.array([1, 0]), np.array([1, 0])]
    PREDICTIONS = [np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, 0.0])]

    def test_running_values_are_averaged_a_batch_weighing_as_many_as_its_cases(self) -> None:
        # counts after cases 1 and 2: 1 hit of 3 in either class; after case 3: 2 of 4
        assert metrics.mean_iou_keras_stream(self.PREDICTIONS, self.TRUTHS, 2) == pytest.approx((2 / 3 + 2 / 4) / 3)
        assert metrics.mean_iou_keras_stream(self.PREDICTIONS, self.TRUTHS, 1) == pytest.approx((1 + 1 / 3 + 2 / 4) / 3)

    def test_one_batch_of_all_cases_is_the_pooled_metric(self) -> None:
        prediction, truth = small_object()
        blurred = gaussian_filter(prediction, 1.0).clip(0, 1)
        pooled = metrics.mean_iou_keras([blurred, prediction], [truth, truth])
        assert metrics.mean_iou_keras_stream([blurred, prediction], [truth, truth], 16) == pooled
        assert metrics.mean_iou_keras_stream([blurred, prediction], [truth, truth], 1) != pooled

    def test_it_depends_on_the_order_of_the_cases_as_the_pooled_metric_does_not(self) -> None:
        turned = self.PREDICTIONS[1:] + self.PREDICTIONS[:1]
        found = metrics.mean_iou_keras_stream(turned, self.TRUTHS, 1)
        assert found == pytest.approx((0 + 1 / 3 + 2 / 4) / 3)
        assert metrics.mean_iou_keras(turned, self.TRUTHS) == metrics.mean_iou_keras(self.PREDICTIONS, self.TRUTHS)

    def test_it_is_no_metric_of_a_card_and_in_no_score(self) -> None:
        assert "mean_iou_keras_stream" not in METRICS

    def test_no_case_is_undefined_and_no_batch_an_error(self) -> None:
        assert math.isnan(metrics.mean_iou_keras_stream([], []))
        with pytest.raises(MethodError, match=r"a batch has 1 case or more, not 0\. Theirs had 16"):
            metrics.mean_iou_keras_stream(self.PREDICTIONS, self.TRUTHS, 0)


@given(st.lists(CASE, min_size=1, max_size=4))
def test_pooled_metrics_agree_with_scikit_learn(cases: list[tuple[Array, Array]]) -> None:
    from sklearn.metrics import f1_score, jaccard_score

    predictions, truths = [p for p, _ in cases], [t for _, t in cases]
    predicted, true = (np.concatenate([x.ravel() for x in part]) for part in ([p > 0.5 for p in predictions], truths))
    if predicted.any() or true.any():
        assert of_cases("iou_bin", predictions, truths) == pytest.approx(jaccard_score(true, predicted))
        assert of_cases("dice_bin", predictions, truths) == pytest.approx(f1_score(true, predicted))


@given(st.lists(CASE, min_size=1, max_size=4))
def test_keras_mean_iou_is_the_plain_definition(cases: list[tuple[Array, Array]]) -> None:
    p, true = (np.concatenate([np.float32(case[i]).ravel() for case in cases]) for i in range(2))
    values = []
    for i in range(50, 100, 5):
        found, t = p > np.float32(i / 100), true.astype(bool)
        unions = [((found & t).sum(), (found | t).sum()), ((~found & ~t).sum(), (~found | ~t).sum())]
        values.append(np.mean([both / union for both, union in unions if union]))
    assert metrics.mean_iou_keras([c[0] for c in cases], [c[1] for c in cases]) == pytest.approx(np.mean(values))


def test_per_case_dice_agrees_with_monai() -> None:
    pytest.importorskip("torch")
    import torch
    from monai.metrics.meandice import DiceMetric

    rng = np.random.default_rng(0)
    predictions, truths = rng.random((6, 4, 4, 4)), rng.random((6, 4, 4, 4)) > 0.7
    predictions[5], truths[5] = 0, False
    monai = DiceMetric(include_background=True, reduction="mean", ignore_empty=False)
    monai(*(torch.as_tensor(part)[:, None].float() for part in (predictions > 0.5, truths)))
    assert of_cases("dice_case", list(predictions), list(truths)) == pytest.approx(np.asarray(monai.aggregate()).item())


def test_per_case_iou_agrees_with_monai() -> None:
    pytest.importorskip("torch")
    import torch
    from monai.metrics.meaniou import compute_iou

    rng = np.random.default_rng(1)
    predictions, truths = rng.random((6, 4, 4, 4)), rng.random((6, 4, 4, 4)) > 0.7
    predictions[5], truths[5] = 0, False
    found, true = (torch.as_tensor(part)[:, None].float() for part in (predictions > 0.5, truths))
    each = np.asarray(compute_iou(found, true, ignore_empty=False)).ravel()
    cases, there = (dict(zip("abcdef", part, strict=True)) for part in (predictions, truths))
    _, rows = score("segmentation", cases, there)
    assert [row["iou_case"] for row in rows] == pytest.approx(each.tolist())
    assert of_cases("iou_case", list(predictions), list(truths)) == pytest.approx(each.mean())


@pytest.mark.parametrize(
    ("prediction", "truth", "error", "message"),
    [
        ([0.1, math.nan], [0, 1], MethodError, "1 of 2 values in the prediction of c7 are NaN"),
        ([0.1, 3.5], [0, 1], MethodError, r"spans 0.1 to 3.5, not \[0, 1\]"),
        ([0.1], [0, 1], MethodError, r"shape \(1,\), its truth \(2,\)"),
        ([0.1, 0.2], [0, 4], DataError, r"the truth of c7 must be 0 or 1, not \[0, 4\]"),
    ],
)
def test_what_cannot_be_scored_is_named(
    prediction: list[float], truth: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        score("segmentation", {"c7": np.array(prediction)}, {"c7": np.array(truth)})


def test_scoring_without_cases_or_with_others_is_an_error() -> None:
    with pytest.raises(DataError, match="no cases"):
        score("segmentation", {}, {})
    with pytest.raises(MethodError, match=r"1 cases have no prediction \['b'\], 1 predictions .* \['c'\]"):
        score("segmentation", {"a": EMPTY, "c": EMPTY}, {"a": EMPTY, "b": EMPTY})
    for metric in (metrics.mean_iou_keras, metrics.mean_iou_keras_stream):
        with pytest.raises(MethodError, match="1 predictions for 2 cases"):
            metric([EMPTY], [EMPTY, EMPTY])


def test_score_gives_every_segmentation_metric_and_a_row_for_each_case() -> None:
    found, rows = score("segmentation", {"b": PREDICTION, "a": EMPTY}, {"a": EMPTY, "b": TRUTH})
    assert found.keys() == {name for name, metric in METRICS.items() if metric.kind == "segmentation" and metric.always}
    assert found["iou_case"] == pytest.approx((1 + 0.5) / 2)
    assert rows[0] == {
        "case": "a", "iou_case": 1, "dice_case": 1, "dice_positive": None,
        "both": 0, "predicted": 0, "true": 0, "empty": True,
    }  # fmt: skip
    assert (rows[1]["case"], rows[1]["empty"], rows[1]["iou_case"]) == ("b", False, 0.5)
    assert json.loads(json.dumps([found, rows], allow_nan=False)) == [found, rows]


def test_score_and_the_metrics_functions_give_one_number() -> None:
    predictions, truths = {"a": PREDICTION, "b": EMPTY}, {"a": TRUTH, "b": EMPTY}
    found, rows = score("segmentation", predictions, truths)
    counts = [Overlap(row["both"], row["predicted"], row["true"]) for row in rows]
    for name, value in found.items():
        of_overlaps = METRICS[name].of_overlaps
        assert value == of_cases(name, list(predictions.values()), list(truths.values()))
        assert of_overlaps is None or value == of_overlaps(counts)


def test_an_undefined_metric_is_null() -> None:
    found, _ = score("segmentation", {"a": EMPTY}, {"a": EMPTY})
    assert found["iou_bin"] is found["dice_bin"] is found["dice_positive"] is None


@pytest.mark.parametrize("shape", [(), (1,)])
def test_score_keeps_the_scores_of_a_classification(shape: tuple[int, ...]) -> None:
    predictions = {"b": np.full(shape, 0.25, np.float16), "a": np.full(shape, 0.75, np.float16)}
    truths = {"a": np.ones(shape), "b": np.zeros(shape)}
    found, rows = score("classification", predictions, truths)
    assert found == {"auc": 1.0}
    assert rows == [{"case": "a", "score": 0.75, "truth": 1}, {"case": "b", "score": 0.25, "truth": 0}]


class TestSeveralOutputs:
    NAMES = ("Mass", "Nodule")
    FOUND = {"a": np.array([0.9, 0.2]), "b": np.array([0.1, 0.4]), "c": np.array([0.3, 0.3])}
    TRUE = {"a": np.array([1, 0]), "b": np.array([0, 1]), "c": np.array([1, 1])}

    def test_each_named_output_has_an_auc_and_the_headline_is_their_plain_mean(self) -> None:
        found, rows = score("classification", self.FOUND, {**self.TRUE, "c": np.array([0, 0])}, self.NAMES)
        assert found == {"auc": 1.0, "auc_Mass": 1.0, "auc_Nodule": 1.0}
        found, rows = score("classification", {**self.FOUND, "c": np.array([0.05, 0.3])}, self.TRUE, self.NAMES)
        assert found == {"auc": 0.75, "auc_Mass": 0.5, "auc_Nodule": 1.0}
        assert rows[2] == {"case": "c", "score": [0.05, 0.3], "truth": [1, 1]}
        assert json.loads(json.dumps([found, rows], allow_nan=False)) == [found, rows]

    def test_without_names_there_is_the_mean_alone(self) -> None:
        assert score("classification", self.FOUND, self.TRUE)[0] == {"auc": 1.0}

    def test_one_output_has_no_second_name(self) -> None:
        one = {case: values[:1] for case, values in self.FOUND.items()}
        true = {case: values[:1] for case, values in self.TRUE.items()}
        assert score("classification", one, true, ("Mass",))[0] == {"auc": 1.0}

    def test_a_finding_of_one_class_leaves_no_mean_and_is_named_with_what_to_do(self) -> None:
        true = {case: np.array([0, truth[1]]) for case, truth in self.TRUE.items()}
        message = "of 3 cases 0 are positive for Mass. Stratify the split, make fewer folds, or take these out"
        with pytest.raises(DataError, match=message):
            score("classification", self.FOUND, true, self.NAMES)
        both = {case: np.array([0, 1]) for case in self.TRUE}
        with pytest.raises(DataError, match="of 3 cases 0 are positive for Mass, 3 for Nodule"):
            check_two_classes(np.stack(list(both.values())), self.NAMES)

    @pytest.mark.parametrize("names", [("Mass",), ("Mass", "Nodule", "Hernia")])
    def test_other_names_than_outputs_are_an_error(self, names: tuple[str, ...]) -> None:
        with pytest.raises(MethodError, match=f"cases have 2 outputs and truths, {len(names)} names"):
            score("classification", self.FOUND, self.TRUE, names)

    def test_cases_of_another_number_of_outputs_are_an_error(self) -> None:
        with pytest.raises(MethodError, match="cases have 2, 3 outputs"):
            score("classification", {**self.FOUND, "c": np.zeros(3)}, self.TRUE, self.NAMES)


def test_every_metric_has_a_name_of_its_own_a_definition_and_a_direction() -> None:
    assert list(METRICS) == [metric.name for metric in METRICS.values()]
    assert all(metric.definition for metric in METRICS.values())
    lower = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert lower == {"brier", "ece", "hd95", "mae"}
    assert {name: metric.unit for name, metric in METRICS.items() if metric.unit != "%"} == {
        "hd95": "mm", "mae": "", "r2": ""
    }  # fmt: skip
    assert all((metric.unit == "%") == (metric.bounds == (0, 1)) for metric in METRICS.values())


@pytest.mark.parametrize(
    ("name", "metric"),
    [("auc_Mass", "auc"), ("dice_anterior", "dice_mean"), ("hd95_core", "hd95"), ("iou_bin", "iou_bin"),
     ("sensitivity_at_specificity_90_Mass", "sensitivity_at_specificity_90"), ("dice_case", "dice_case")],
)  # fmt: skip
def test_a_value_of_one_output_has_the_direction_and_the_bounds_of_its_metric(name: str, metric: str) -> None:
    assert metrics.metric_of(name) is METRICS[metric]
    assert metrics.bounds_of(name) == METRICS[metric].bounds
    assert metrics.higher_is_better(name) == METRICS[metric].higher_is_better
    assert metrics.metric_of("loss") is None
    assert metrics.higher_is_better("loss")


def test_metrics_import_without_torch_and_without_scikit_learn() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, sklearn=None, monai=None);"
        "import numpy as np, sg_bench.evaluation.metrics as m;"
        "print(m.mean_iou_keras([np.ones(2)], [np.ones(2)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1.0", done.stderr
