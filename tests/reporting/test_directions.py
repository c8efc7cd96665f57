"""Where less is better, the lowest is best: in tables, tests and claims; values are printed in their unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sg_bench.evaluation.metrics import text_of
from sg_bench.reporting.frame import MetricColumn
from sg_bench.reporting.render import column_heading, unit_sentence
from sg_bench.reporting.separation import compared, ties
from sg_bench.reporting.tables import MethodRow, ScoreSummary, Table
from sg_bench.statistics.claims import ClaimData, evaluate_claims
from sg_bench.statistics.units import Units
from sg_bench.statistics.variance import bootstrap_scores

SEEDS = tuple((seed, 0) for seed in range(6))
GOOD, BAD = (3.0, 3.1, 2.9, 3.05, 2.95, 3.0), (6.0, 6.2, 5.8, 6.1, 5.9, 6.0)


def table(metric: str) -> Table:
    rows = [
        MethodRow(name, (ScoreSummary(6, values, seeds=SEEDS, metric=metric),))
        for name, values in (("good", GOOD), ("bad", BAD))
    ]
    return Table((MetricColumn("age", metric, "headline"),), tuple(rows), ())


@pytest.mark.parametrize(("metric", "best"), [("mae", "good"), ("hd95_core", "good"), ("r2", "bad")])
def test_the_best_of_a_column_has_the_direction_of_its_metric(metric: str, best: str) -> None:
    found = ties(table(metric), 0)
    assert found.best == {best}
    assert not found.inseparable
    gains = dict(compared(table(metric), 0))
    assert max(gains, key=lambda name: np.mean(gains[name])) == best


def test_values_are_printed_in_their_unit() -> None:
    assert table("mae").best(0) == 3.0
    assert text_of(0.5, "auc") == "50.00 %"
    assert text_of(3.25, "hd95_core") == "3.25 mm"
    assert text_of(3.25, "mae") == "3.25"
    assert column_heading(MetricColumn("t", "hd95", "headline")).text == "hd95 (mm, lower is better)"
    assert column_heading(MetricColumn("t", "auc", "headline")).text == "auc"
    assert unit_sentence(["auc", "dice_mean"]) == ""
    assert unit_sentence(["hd95", "brier"]) == "Not in percent: hd95 in mm. Lower is better of hd95, brier."


def test_a_claim_on_an_error_is_supported_by_the_lower_one() -> None:
    good, bad = (Units(tuple(-value for value in values), tuple(range(6)), "pretraining") for values in (GOOD, BAD))
    (verdict,) = evaluate_claims([ClaimData("less error", good, bad, scale=1.0)])
    assert verdict.outcome == "supported"
    assert verdict.difference == pytest.approx(3.0)


class TestBootstraps:
    """Every metric that a record holds can be drawn again from its rows."""

    def test_a_classification_of_three_classes(self) -> None:
        draw = np.random.default_rng(0)
        truths = np.eye(3, dtype=int)[np.arange(30) % 3]
        shares = draw.dirichlet(np.ones(3), 30)
        rows = [
            {"case": f"c{i}", "score": a.tolist(), "truth": b.tolist()}
            for i, (a, b) in enumerate(zip(shares, truths, strict=True))
        ]
        names = ("auc", "auprc_b", "brier", "ece", "balanced_accuracy", "sensitivity_at_specificity_90", "auc_c")
        found = bootstrap_scores(rows, names, ("a", "b", "c"), exclusive=True, resamples=50)
        assert found.keys() == set(names)
        assert all(0 <= np.nanmin(each) <= np.nanmax(each) <= 1 for each in found.values())
        single = [{**rows[0], "case": "x"}, {**rows[0], "case": "y"}]  # any draw of equal cases is their score
        drawn = bootstrap_scores(single, ["brier"], ("a", "b", "c"), exclusive=True, resamples=5)["brier"]
        assert drawn == pytest.approx(((shares[0] - truths[0]) ** 2).sum() / 2)

    def test_a_segmentation_of_two_classes_and_a_regression(self) -> None:
        rows = [
            {"case": f"c{i}", "dice_a": 0.5, "dice_b": None if i % 2 else 0.9, "hd95_a": 2.0, "hd95_b": 4.0}
            for i in range(8)
        ]
        found = bootstrap_scores(rows, ["dice_a", "dice_mean", "hd95"], ("a", "b"), resamples=40)
        assert found["dice_a"] == pytest.approx(0.5)
        assert np.nanmean(found["dice_mean"]) == pytest.approx(0.7)
        assert found["hd95"] == pytest.approx(3.0)
        values: list[dict[str, Any]] = [
            {"case": f"c{i}", "score": i + 0.5, "truth": float(i), "mae": 0.5} for i in range(20)
        ]
        drawn = bootstrap_scores(values, ["mae", "r2"], resamples=40)
        assert drawn["mae"] == pytest.approx(0.5)
        assert (drawn["r2"] < 1).all()
        assert drawn["r2"].min() > 0.9
