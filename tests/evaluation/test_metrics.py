"""Every metric against numbers worked out by hand, against other libraries, and on the cases that mislead."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from sg_bench.errors import DataError, MethodError
from sg_bench.evaluation import metrics
from sg_bench.evaluation.metrics import METRICS, Array, Overlap, score

TRUTH = np.array([[[1, 1], [1, 0]], [[0, 0], [0, 0]]])
PREDICTION = np.array([[[0.97, 0.72], [0.30, 0.62]], [[0.10, 0.00], [0.20, 0.50]]])
"""At p > 0.5: two hits, one false alarm, one miss, four rejections."""
EMPTY = np.zeros((2, 2, 2))


def test_pooled_overlap_of_a_small_case_by_hand() -> None:
    assert metrics.overlap(PREDICTION, TRUTH) == Overlap(both=2, predicted=3, true=3)
    assert metrics.iou_bin([PREDICTION], [TRUTH]) == pytest.approx(2 / 4)
    assert metrics.dice_bin([PREDICTION], [TRUTH]) == pytest.approx(4 / 6)


def test_pooling_over_voxels_differs_from_averaging_over_cases() -> None:
    truths, predictions = [TRUTH, np.ones((1, 3))], [PREDICTION, np.ones((1, 3))]
    assert metrics.iou_bin(predictions, truths) == pytest.approx(5 / 7)
    assert metrics.iou_case(predictions, truths) == pytest.approx((1 / 2 + 1) / 2)
    assert metrics.dice_bin(predictions, truths) == pytest.approx(10 / 12)
    assert metrics.dice_case(predictions, truths) == pytest.approx((2 / 3 + 1) / 2)


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
    assert math.isnan(metrics.iou_bin([EMPTY], [EMPTY]))
    assert math.isnan(metrics.dice_bin([EMPTY], [EMPTY]))
    assert metrics.iou_case([EMPTY], [EMPTY]) == metrics.dice_case([EMPTY], [EMPTY]) == 1
    assert math.isnan(metrics.dice_positive([EMPTY], [EMPTY]))
    assert metrics.mean_iou_keras([EMPTY], [EMPTY]) == 1
    assert metrics.empty_cases([EMPTY, PREDICTION, EMPTY], [EMPTY, TRUTH, TRUTH]) == 1


def test_predicting_nothing_looks_good_on_mostly_negative_cases_but_not_on_the_positive_ones() -> None:
    truths, predictions = [EMPTY, EMPTY, EMPTY, TRUTH], [EMPTY] * 4
    assert metrics.dice_case(predictions, truths) == pytest.approx(0.75)
    assert metrics.dice_positive(predictions, truths) == 0


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
        if metric.kind == "segmentation":
            assert metric.compute([stored], [truth]) == metric.compute([stored.astype(np.float64)], [truth])


def small_object() -> tuple[Array, Array]:
    truth, prediction = np.zeros((2, 64, 64, 32))
    truth[20:30, 20:30, 10:18] = 1
    prediction[22:32, 20:30, 10:18] = 1
    return prediction, truth


def test_on_a_small_object_the_published_iou_lies_above_the_dice() -> None:
    prediction, truth = small_object()
    assert metrics.dice_bin([prediction], [truth]) == pytest.approx(0.8, abs=5e-5)
    assert metrics.iou_bin([prediction], [truth]) == pytest.approx(0.6667, abs=5e-5)
    assert metrics.mean_iou_keras([prediction], [truth]) == pytest.approx(0.8321, abs=5e-5)


@pytest.mark.parametrize("sigma", [0.8, 1.0])
def test_blurring_lowers_the_published_iou_and_hardly_the_foregrounds(sigma: float) -> None:
    prediction, truth = small_object()
    blurred = gaussian_filter(prediction, sigma).clip(0, 1)
    assert 0.72 < metrics.mean_iou_keras([blurred], [truth]) < 0.77
    assert 0.62 < metrics.iou_bin([blurred], [truth]) < 0.68


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
    with pytest.raises(DataError, match="3 of 3 cases of output 1"):
        metrics.auc(scores, np.array([[1, 1], [0, 1], [0, 1]]))


CASE = st.tuples(
    arrays(np.float16, (3, 4), elements=st.floats(0, 1, width=16)), arrays(np.bool_, (3, 4), elements=st.booleans())
)


@given(st.lists(CASE, min_size=1, max_size=4))
def test_pooled_metrics_agree_with_scikit_learn(cases: list[tuple[Array, Array]]) -> None:
    from sklearn.metrics import f1_score, jaccard_score

    predictions, truths = [p for p, _ in cases], [t for _, t in cases]
    predicted, true = (np.concatenate([x.ravel() for x in part]) for part in ([p > 0.5 for p in predictions], truths))
    if predicted.any() or true.any():
        assert metrics.iou_bin(predictions, truths) == pytest.approx(jaccard_score(true, predicted))
        assert metrics.dice_bin(predictions, truths) == pytest.approx(f1_score(true, predicted))


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
    assert metrics.dice_case(list(predictions), list(truths)) == pytest.approx(np.asarray(monai.aggregate()).item())


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
    with pytest.raises(DataError, match="not one case"):
        score("segmentation", {}, {})
    with pytest.raises(MethodError, match=r"1 cases have no prediction \['b'\], 1 predictions .* \['c'\]"):
        score("segmentation", {"a": EMPTY, "c": EMPTY}, {"a": EMPTY, "b": EMPTY})
    with pytest.raises(MethodError, match="1 predictions for 2 cases"):
        metrics.iou_bin([EMPTY], [EMPTY, EMPTY])


def test_score_gives_every_segmentation_metric_and_a_row_for_each_case() -> None:
    found, rows = score("segmentation", {"b": PREDICTION, "a": EMPTY}, {"a": EMPTY, "b": TRUTH})
    assert found.keys() == {name for name, metric in METRICS.items() if metric.kind == "segmentation"}
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
        assert value == METRICS[name].compute(list(predictions.values()), list(truths.values()))
        of_overlaps = METRICS[name].of_overlaps
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


def test_every_metric_has_a_name_of_its_own_a_definition_and_a_direction() -> None:
    assert list(METRICS) == [metric.name for metric in METRICS.values()]
    assert all(metric.definition and metric.higher_is_better for metric in METRICS.values())


def test_metrics_import_without_torch_and_without_scikit_learn() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, sklearn=None, monai=None);"
        "import numpy as np, sg_bench.evaluation.metrics as m;"
        "print(m.iou_bin([np.ones(2)], [np.ones(2)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1.0", done.stderr
