"""Curves are those of scikit-learn, and the area under a mean curve is the mean of the areas."""

import numpy as np
import pytest

from sg_bench.reporting.figures.roc import GRID, curves_of, plots, run_curves

SCORES = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.5, 0.3])
TRUTH = np.array([1, 1, 0, 1, 0, 1, 0, 0], bool)


def test_the_curves_are_those_of_scikit_learn():
    from sklearn.metrics import precision_recall_curve, roc_curve

    roc, precision = curves_of(SCORES, TRUTH)
    wrong, hit, _ = roc_curve(TRUTH, SCORES, drop_intermediate=False)
    for rate in (0.25, 0.5, 0.75, 1.0):
        assert roc[round(100 * rate)] == pytest.approx(max(hit[wrong == rate], default=np.interp(rate, wrong, hit)))
    precisions, recalls, _ = precision_recall_curve(TRUTH, SCORES)
    for recall in (0.2, 0.5, 0.6, 1.0):
        least = min(reached for reached in recalls if reached >= recall)
        highest = max(place for place, reached in enumerate(recalls) if reached == least)
        assert precision[round(100 * recall)] == pytest.approx(precisions[highest])


def test_a_perfect_and_an_uninformed_classifier():
    roc, precision = curves_of(np.where(TRUTH, 1.0, 0.0), TRUTH)
    assert (roc == 1).all()
    assert (precision == 1).all()
    roc, precision = curves_of(np.zeros(8), TRUTH)
    assert roc == pytest.approx(GRID)
    assert precision == pytest.approx(np.full(101, 0.5))


def test_findings_without_both_classes_are_left_out():
    both = run_curves(np.stack([SCORES, SCORES], axis=1), np.stack([TRUTH, np.ones(8, bool)], axis=1))
    assert both is not None
    assert both[0] == pytest.approx(curves_of(SCORES, TRUTH)[0])
    assert run_curves(SCORES[:, None], np.ones((8, 1), bool)) is None


def test_a_task_without_scores_of_its_cases_is_not_drawn(small):
    assert plots(small) == []
    for record in small.records.values():
        if record["headline"] == "auc":
            record["cases"] = [
                {"case": str(n), "score": s, "truth": int(t)}
                for n, (s, t) in enumerate(zip(SCORES, TRUTH, strict=True))
            ]
    try:
        (plot,) = plots(small)
    finally:
        for record in small.records.values():
            record["cases"] = []
    assert plot.name == "roc"
