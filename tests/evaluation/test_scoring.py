"""Metrics of classes, regions, columns and numbers: each against scikit-learn, MONAI or numbers computed by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sg_bench.errors import DataError, MethodError
from sg_bench.evaluation.pooled import OUTPUT_METRICS, classification_metric, r2
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.scoring import Scoring, score_predictions
from sg_bench.evaluation.surfaces import hd95, nsd

RNG = np.random.default_rng(3)
CASES, DRAWS = 60, 5


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    """Three bootstrapped test sets, and all cases once."""
    drawn = np.random.default_rng(1).multinomial(CASES, np.full(CASES, 1 / CASES), size=DRAWS - 1)
    return np.vstack([np.ones(CASES), drawn]).astype(float)


def binary(ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    truths = RNG.random((CASES, 1)) < 0.3
    scores = np.clip(RNG.normal(0.35 + 0.2 * truths, 0.2), 0, 1)
    return (np.round(scores, 1) if ties else scores), truths


def several() -> tuple[np.ndarray, np.ndarray]:
    classes = np.arange(CASES) % 3
    logits = RNG.normal(0, 1, (CASES, 3)) + np.eye(3)[classes]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), np.eye(3)[classes].astype(bool)


class TestOneOutput:
    """Weighted, as on bootstrapped test sets, and with ties."""

    def of(self, name: str, weights: np.ndarray, scores: np.ndarray, truths: np.ndarray) -> np.ndarray:
        return classification_metric(name, scores, truths, weights, exclusive=False)[0]

    def test_average_precision_is_that_of_scikit_learn(self, weights: np.ndarray) -> None:
        from sklearn.metrics import average_precision_score

        scores, truths = binary()
        wanted = [average_precision_score(truths[:, 0], scores[:, 0], sample_weight=w) for w in weights]
        assert self.of("auprc", weights, scores, truths) == pytest.approx(wanted)

    def test_balanced_accuracy_is_that_of_scikit_learn(self, weights: np.ndarray) -> None:
        from sklearn.metrics import balanced_accuracy_score

        scores, truths = binary()
        wanted = [balanced_accuracy_score(truths[:, 0], scores[:, 0] > 0.5, sample_weight=w) for w in weights]
        assert self.of("balanced_accuracy", weights, scores, truths) == pytest.approx(wanted)

    def test_the_brier_score_is_that_of_scikit_learn(self, weights: np.ndarray) -> None:
        from sklearn.metrics import brier_score_loss

        scores, truths = binary()
        wanted = [brier_score_loss(truths[:, 0], scores[:, 0], sample_weight=w) for w in weights]
        assert self.of("brier", weights, scores, truths) == pytest.approx(wanted)

    def test_sensitivity_at_a_specificity_is_read_from_the_roc_curve_of_scikit_learn(self, weights: np.ndarray) -> None:
        from sklearn.metrics import roc_curve

        scores, truths = binary()
        wanted = []
        for w in weights:
            false, hit, _ = roc_curve(truths[:, 0], scores[:, 0], sample_weight=w, drop_intermediate=False)
            wanted.append(hit[1 - false >= 0.9 - 1e-12].max())
        assert self.of("sensitivity_at_specificity_90", weights, scores, truths) == pytest.approx(wanted)

    def test_a_specificity_of_exactly_90_percent_suffices(self) -> None:
        scores = np.array([0.95, 0.9, *np.linspace(0.1, 0.5, 9)])[:, None]
        truths = np.array([False, True, *[False] * 9])[:, None]  # the positive is below one of ten negatives
        assert self.of("sensitivity_at_specificity_90", np.ones((1, 11)), scores, truths) == [1.0]

    def test_the_calibration_error_is_the_one_computed_by_hand(self) -> None:
        scores, truths = np.array([[0.1], [0.1], [0.9], [0.9], [1.0]]), np.array([[0], [1], [1], [1], [0]], bool)
        # bins of 1/15: {0.1, 0.1}: |1/2 - 0.1|, weight 2/5; {0.9, 0.9}: |1 - 0.9|, 2/5; {1.0}: |0 - 1|, 1/5
        assert self.of("ece", np.ones((1, 5)), scores, truths) == pytest.approx([0.4 * 2 / 5 + 0.1 * 2 / 5 + 1 / 5])

    @pytest.mark.parametrize("name", [name for name in OUTPUT_METRICS if name not in ("brier", "ece")])
    def test_without_a_positive_case_it_is_undefined(self, name: str) -> None:
        scores, truths = np.array([[0.2], [0.7]]), np.zeros((2, 1), bool)
        assert np.isnan(self.of(name, np.ones((1, 2)), scores, truths)).all()

    def test_of_several_findings_it_is_the_mean_of_each(self, weights: np.ndarray) -> None:
        (a, s), (b, t) = binary(), binary(ties=False)
        whole, each = classification_metric("auprc", np.hstack([a, b]), np.hstack([s, t]), weights, exclusive=False)
        assert each is not None
        assert each[:, 1] == pytest.approx(self.of("auprc", weights, b, t))
        assert whole == pytest.approx(each.mean(axis=1))


class TestExclusiveClasses:
    def test_balanced_accuracy_and_brier_are_those_of_scikit_learn(self, weights: np.ndarray) -> None:
        from sklearn.metrics import balanced_accuracy_score, brier_score_loss

        scores, truths = several()
        true, predicted = truths.argmax(axis=1), scores.argmax(axis=1)
        for name, wanted in (
            ("balanced_accuracy", [balanced_accuracy_score(true, predicted, sample_weight=w) for w in weights]),
            (
                "brier",
                [
                    brier_score_loss(true, scores, sample_weight=w, scale_by_half=True, labels=[0, 1, 2])
                    for w in weights
                ],
            ),
        ):
            found, each = classification_metric(name, scores, truths, weights, exclusive=True)
            assert found == pytest.approx(wanted)
            assert each is None

    def test_the_calibration_error_is_that_of_the_most_probable_class(self) -> None:
        scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2]])
        truths = np.array([[1, 0, 0], [0, 0, 1]], bool)
        found, _ = classification_metric("ece", scores, truths, np.ones((1, 2)), exclusive=True)
        assert found == pytest.approx([(abs(1 - 0.5) + abs(0 - 0.7)) / 2])


class TestSurfaces:
    def masks(self) -> tuple[np.ndarray, np.ndarray]:
        predicted, truth = np.zeros((2, 20, 20, 20), bool)
        truth[4:10, 4:10, 4:10] = predicted[7:13, 4:10, 4:10] = True
        return predicted, truth

    def test_a_shifted_cube_is_as_far_as_it_was_shifted_in_mm(self) -> None:
        predicted, truth = self.masks()
        assert hd95(predicted, truth, (1, 1, 1)) == pytest.approx(3)
        assert hd95(predicted, truth, (2.5, 1, 1)) == pytest.approx(5.0, abs=2.5)
        assert hd95(truth, truth, (1, 1, 1)) == 0
        assert nsd(truth, truth, (1, 1, 1)) == 1

    def test_a_percentile_of_distances_between_surfaces_is_that_of_scipy(self) -> None:
        from scipy.ndimage import binary_erosion, distance_transform_edt

        predicted, truth = self.masks()
        spacing = (0.8, 1.0, 2.0)
        edges = [mask & ~binary_erosion(mask) for mask in (predicted, truth)]
        far = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
        wanted = max(np.percentile(far[1][edges[0]], 95), np.percentile(far[0][edges[1]], 95))
        assert hd95(predicted, truth, spacing) == pytest.approx(wanted)

    def test_nsd_is_the_share_of_the_surface_within_two_mm(self) -> None:
        predicted, truth = self.masks()
        assert 0 < nsd(predicted, truth, (1, 1, 1)) < 1
        assert nsd(predicted, truth, (0.5, 1, 1)) == 1  # shifted by 1.5 mm
        assert nsd(predicted, truth, (4, 4, 4)) < nsd(predicted, truth, (1, 1, 1))

    def test_a_missed_or_invented_object_is_the_worst_and_none_at_all_is_undefined(self) -> None:
        _, truth = self.masks()
        nothing = np.zeros_like(truth)
        for pair in ((nothing, truth), (truth, nothing)):
            assert hd95(*pair, (1, 1, 2)) == pytest.approx(math.sqrt(20**2 + 20**2 + 40**2))
            assert nsd(*pair, (1, 1, 2)) == 0
        assert math.isnan(hd95(nothing, nothing, (1, 1, 1)))
        assert math.isnan(nsd(nothing, nothing, (1, 1, 1)))

    def test_a_film_has_two_axes(self) -> None:
        predicted, truth = (mask[:, :, 6:7] for mask in self.masks())
        assert hd95(predicted, truth, (1, 1, 1)) == pytest.approx(3)


MASKS = Scoring.of({"kind": "segmentation", "classes": {"2": "tail", "1": "head"}, "headline": "dice_mean"})


def half(shape: tuple[int, ...] = (4, 4, 2)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[:2] = 1
    return mask


class TestSeveralMasks:
    def test_each_class_has_a_score_and_their_mean_is_without_background(self) -> None:
        none, some = np.zeros((4, 4, 2), np.uint8), half()
        truths = {"a": np.stack([some, some]), "b": np.stack([some, none])}
        found = {"a": np.stack([some, none]), "b": np.stack([some, none])}
        metrics, rows = score_predictions(MASKS, Predictions(found, truths))
        assert metrics == {
            "dice_mean": 0.5, "dice_head": 1.0, "dice_tail": 0.0, "iou_mean": 0.5, "iou_head": 1.0, "iou_tail": 0.0
        }  # fmt: skip
        assert rows[1]["dice_tail"] is None  # neither truth nor prediction: silence is not rewarded
        assert json.loads(json.dumps([metrics, rows], allow_nan=False)) == [metrics, rows]

    def test_an_invented_class_scores_zero(self) -> None:
        none, some = np.zeros((4, 4, 2), np.uint8), half()
        metrics, _ = score_predictions(MASKS, Predictions({"a": np.stack([some, some])}, {"a": np.stack([some, none])}))
        assert metrics["dice_tail"] == 0

    def test_a_class_of_no_case_leaves_its_score_and_the_mean_undefined(self) -> None:
        none, some = np.zeros((4, 4, 2), np.uint8), half()
        both = {"a": np.stack([some, none])}
        metrics, _ = score_predictions(MASKS, Predictions(both, both))
        assert (metrics["dice_head"], metrics["dice_tail"], metrics["dice_mean"]) == (1, None, None)

    def test_surfaces_are_measured_where_the_card_names_them_and_predictions_keep_the_spacing(
        self, tmp_path: Path
    ) -> None:
        scoring = Scoring.of(
            {
                "kind": "segmentation",
                "regions": {"core": [1], "all": [1, 2]},
                "headline": "dice_mean",
                "secondary": ["hd95"],
            }
        )
        assert scoring.names == ("all", "core")
        assert scoring.surfaces == ("hd95",)
        found = {"a": np.stack([half(), half()])}
        with pytest.raises(DataError, match="hd95 needs the spacing"):
            score_predictions(scoring, Predictions(found, found))
        Predictions(found, found, {"a": (1.0, 2.0, 3.0)}).save(tmp_path / "p.npz")
        read = Predictions.load(tmp_path / "p.npz")
        assert read.spacing("a") == (1, 2, 3)
        metrics, rows = score_predictions(scoring, read)
        assert (metrics["hd95"], metrics["hd95_core"], rows[0]["hd95_all"]) == (0, 0, 0)
        assert "nsd" not in metrics

    def test_one_mask_has_surfaces_too(self) -> None:
        scoring = Scoring.of(
            {"kind": "segmentation", "target": [1], "headline": "iou_bin", "secondary": ["nsd", "hd95"]}
        )
        found = Predictions({"a": half().astype(np.float16)}, {"a": half()}, {"a": (1.0, 1.0, 1.0)})
        metrics, rows = score_predictions(scoring, found)
        assert (metrics["hd95"], metrics["nsd"], rows[0]["nsd"], metrics["iou_bin"]) == (0, 1, 1, 1)

    def test_a_prediction_of_another_number_of_masks_is_an_error(self) -> None:
        with pytest.raises(MethodError, match="has 1 masks, and the task 2 names"):
            score_predictions(MASKS, Predictions({"a": half()[None]}, {"a": half()[None]}))


class TestColumns:
    def test_a_classification_by_a_column_has_all_metrics_and_one_of_findings_those_that_it_names(self) -> None:
        scores, truths = binary()
        found = Predictions(
            *({f"p{i:02d}": row for i, row in enumerate(each)} for each in (scores, truths.astype(int)))
        )
        by_column = Scoring.of(
            {"kind": "classification", "label_column": "grade", "classes": ["a", "b"], "headline": "auc"}
        )
        metrics, _ = score_predictions(by_column, found)
        assert metrics.keys() == {"auc", *OUTPUT_METRICS}
        plain = {"kind": "classification", "headline": "auc"}
        assert score_predictions(Scoring.of(plain), found)[0].keys() == {"auc"}
        assert score_predictions(Scoring.of({**plain, "secondary": ["ece"]}), found)[0].keys() == {"auc", "ece"}

    def test_several_classes_have_curves_of_their_own(self) -> None:
        scores, truths = several()
        found = Predictions(
            *({f"p{i:02d}": row for i, row in enumerate(each)} for each in (scores, truths.astype(int)))
        )
        task = {
            "kind": "classification",
            "label_column": "g",
            "classes": ["a", "b", "c"],
            "headline": "balanced_accuracy",
        }
        scoring = Scoring.of(task)
        metrics, _ = score_predictions(scoring, found)
        assert {"auc_a", "auprc_c", "sensitivity_at_specificity_90_b"} < metrics.keys()
        assert not {"brier_a", "ece_a", "balanced_accuracy_a"} & metrics.keys()
        assert set(scoring.metrics()) == metrics.keys()


class TestRegression:
    SCORING = Scoring.of({"kind": "regression", "value_column": "age", "headline": "mae"})

    def found(self, predicted: list[float], true: list[float]) -> Predictions:
        values, truths = (
            {f"p{i:02d}": np.array([value], np.float32) for i, value in enumerate(each)} for each in (predicted, true)
        )
        return Predictions(values, truths)

    def test_mae_and_r2_are_those_of_scikit_learn(self) -> None:
        from sklearn.metrics import mean_absolute_error, r2_score

        true, predicted = RNG.normal(60, 12, CASES), RNG.normal(60, 12, CASES)
        found = self.found(predicted.tolist(), true.tolist())
        metrics, rows = score_predictions(self.SCORING, found)
        assert metrics["mae"] == pytest.approx(mean_absolute_error(true, predicted), rel=1e-5)
        assert metrics["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-4)
        assert rows[0].keys() == {"case", "score", "truth", "mae"}
        assert set(self.SCORING.metrics()) == metrics.keys()

    def test_weights_are_those_of_scikit_learn(self, weights: np.ndarray) -> None:
        from sklearn.metrics import r2_score

        true, predicted = RNG.normal(1e4, 3, CASES), RNG.normal(1e4, 3, CASES)
        wanted = [r2_score(true, predicted, sample_weight=w) for w in weights]
        assert r2(predicted, true, weights) == pytest.approx(wanted)

    def test_of_equal_truths_r2_is_undefined(self) -> None:
        metrics, _ = score_predictions(self.SCORING, self.found([1, 2], [0.1, 0.1]))
        assert metrics["r2"] is None
        assert metrics["mae"] == pytest.approx(1.4)

    def test_a_prediction_that_is_not_finite_is_an_error(self) -> None:
        with pytest.raises(MethodError, match="NaN or infinite"):
            score_predictions(self.SCORING, self.found([1, math.nan], [1, 2]))

    def test_predictions_are_kept_as_they_are(self, tmp_path: Path) -> None:
        found = self.found([70000.25, 1], [70001.5, 2])
        found.save(tmp_path / "p.npz")
        assert score_predictions(self.SCORING, Predictions.load(tmp_path / "p.npz")) == score_predictions(
            self.SCORING, found
        )
