"""Three sources of spread, each found where it was put, and none invented where it cannot be known."""

import math
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.evaluation.metrics import METRICS, Overlap, auc, score
from sg_bench.statistics import variance
from sg_bench.statistics.variance import case_deviation, seed_spread, variance_sources


def known(value: float | None) -> float:
    assert value is not None
    return value


def rows_of_counts(counts: list[tuple[int, int, int]], crops: int = 1) -> list[dict]:
    return [
        {
            "case": f"patient-{i // crops}#{i % crops}",
            "both": both,
            "predicted": predicted,
            "true": true,
            "iou_case": both / (predicted + true - both),
            "dice_positive": 2 * both / (predicted + true) if true else None,
        }
        for i, (both, predicted, true) in enumerate(counts)
    ]


COUNTS = [(40, 60, 50), (10, 30, 20), (0, 5, 0), (80, 90, 100), (5, 20, 50), (33, 40, 44), (1, 9, 9), (70, 75, 80)]


class TestSeedSpread:
    def test_the_worked_example_of_three_pretrainings_comes_out(self) -> None:
        scores = {(0, 0): 0.50, (0, 1): 0.54, (1, 0): 0.60, (1, 1): 0.64, (2, 0): 0.70, (2, 1): 0.74}
        found = seed_spread(scores)
        # within: 3 x 2 x 0.02**2 / 3 = 0.0008; between: 2 x (0.1**2 + 0 + 0.1**2) / 2 = 0.02; (0.02 - 0.0008) / 2
        assert found.fine_tuning == pytest.approx(math.sqrt(0.0008))
        assert found.pretraining == pytest.approx(math.sqrt(0.0096))
        assert found.notes == ()

    def test_unbalanced_runs_are_weighed_as_the_model_says(self) -> None:
        scores = {(0, 0): 0.1, (0, 1): 0.3, (0, 2): 0.2, (1, 0): 0.5}
        # within: 0.02 / 2 = 0.01; means 0.2 and 0.5, grand 0.275: (3 x 0.075**2 + 0.225**2) / 1 = 0.0675; n0 = 4 - 10/4
        found = seed_spread(scores)
        assert found.fine_tuning == pytest.approx(0.1)
        assert found.pretraining == pytest.approx(math.sqrt((0.0675 - 0.01) / 1.5))

    def test_both_are_found_where_they_were_put(self) -> None:
        rng, found = np.random.default_rng(0), []
        for _ in range(300):
            luck = rng.normal(0, 0.03, 6)
            scores = {(p, f): 0.7 + luck[p] + rng.normal(0, 0.01) for p in range(6) for f in range(1 + p)}
            found.append(seed_spread(scores))
        assert np.mean([known(each.pretraining) ** 2 for each in found]) == pytest.approx(0.03**2, rel=0.1)
        assert np.mean([known(each.fine_tuning) ** 2 for each in found]) == pytest.approx(0.01**2, rel=0.1)

    def test_with_one_pretraining_its_variance_is_unknown_and_said_to_be(self) -> None:
        found = seed_spread({(3, 0): 0.5, (3, 1): 0.6, (3, 2): 0.7})
        assert found.pretraining is None
        assert found.fine_tuning == pytest.approx(0.1)
        assert "about this checkpoint only" in found.notes[0]

    def test_one_run_knows_neither(self) -> None:
        found = seed_spread({(0, 0): 0.5})
        assert (found.pretraining, found.fine_tuning, len(found.notes)) == (None, None, 2)

    def test_one_run_a_pretraining_cannot_tell_the_sources_apart(self) -> None:
        found = seed_spread({(0, 0): 0.5, (1, 0): 0.6})
        assert (found.pretraining, found.fine_tuning) == (None, None)
        assert "cannot be told" in found.notes[0]

    def test_an_estimate_below_nought_is_nought_and_said_to_be(self) -> None:
        found = seed_spread({(0, 0): 0.4, (0, 1): 0.6, (1, 0): 0.4, (1, 1): 0.6})
        assert found.pretraining == 0
        assert "below nought" in found.notes[0]

    @given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.floats(0, 1), min_size=1))
    def test_it_is_a_number_of_at_least_nought_or_none_with_a_reason(self, scores) -> None:
        found = seed_spread(scores)
        for deviation in (found.pretraining, found.fine_tuning):
            assert found.notes if deviation is None else deviation >= 0


class TestCaseDeviation:
    @pytest.mark.parametrize("metric", ["iou_bin", "dice_bin", "iou_case", "dice_positive"])
    def test_it_is_that_of_the_metric_on_cases_drawn_one_by_one(self, metric: str) -> None:
        rng, compute = np.random.default_rng(1), METRICS[metric].of_overlaps
        overlaps = [Overlap(*counts) for counts in COUNTS]
        assert compute is not None
        plain = [compute([overlaps[i] for i in rng.integers(len(overlaps), size=len(overlaps))]) for _ in range(20_000)]
        found = case_deviation(rows_of_counts(COUNTS), metric, resamples=20_000)
        assert found == pytest.approx(np.std(plain, ddof=1), rel=0.03)

    @pytest.mark.parametrize("columns", [1, 3])
    def test_of_an_area_under_the_curve_with_ties_it_is_that_of_sklearn(self, columns: int) -> None:
        rng = np.random.default_rng(2)
        truths = rng.integers(0, 2, (30, columns))
        scores = np.round(rng.normal(truths, 1.5), 1)
        names = [f"case-{i}" for i in range(30)]
        _, rows = score("classification", dict(zip(names, scores, strict=True)), dict(zip(names, truths, strict=True)))
        draws, place = variance._image_draws(tuple(names), 60, 0)
        drawn = [np.repeat(np.arange(30), counts[place]) for counts in draws]
        found = case_deviation(rows, "auc", resamples=60)
        assert found == pytest.approx(np.std([auc(scores[cases], truths[cases]) for cases in drawn], ddof=1))

    def test_the_mean_of_one_number_a_case_has_the_standard_error_that_is_known(self) -> None:
        values = np.random.default_rng(3).uniform(size=200)
        rows = [{"case": f"p{i}", "iou_case": float(value)} for i, value in enumerate(values)]
        known = np.std(values) / math.sqrt(200)
        assert case_deviation(rows, "iou_case", resamples=4000) == pytest.approx(known, rel=0.05)

    def test_crops_of_one_image_are_drawn_together(self) -> None:
        alike = [counts for counts in COUNTS for _ in range(4)]
        together = known(case_deviation(rows_of_counts(alike, crops=4), "iou_bin"))
        assert together == pytest.approx(case_deviation(rows_of_counts(COUNTS), "iou_bin"), rel=0.1)
        assert together > 1.5 * known(case_deviation(rows_of_counts(alike), "iou_bin"))

    def test_the_same_cases_give_the_same_number_every_time_and_in_pieces(self, monkeypatch) -> None:
        rows = rows_of_counts(COUNTS)
        whole = case_deviation(rows, "iou_bin")
        monkeypatch.setattr(variance, "AT_ONCE", 100)
        assert case_deviation(rows, "iou_bin") == pytest.approx(whole, rel=1e-12)

    def test_draws_without_a_positive_are_left_out(self) -> None:
        rows = [{"case": str(i), "score": float(i), "truth": int(i == 2)} for i in range(4)]
        assert 0 < known(case_deviation(rows, "auc")) < 1

    @pytest.mark.parametrize("metric", ["mean_iou_keras", "auc", "unheard_of"])
    def test_what_the_rows_do_not_hold_is_unknown(self, metric: str) -> None:
        assert case_deviation(rows_of_counts(COUNTS), metric) is None

    def test_one_image_and_no_image_are_unknown(self) -> None:
        assert case_deviation(rows_of_counts(COUNTS, crops=len(COUNTS)), "iou_bin") is None
        assert case_deviation([], "iou_bin") is None


class TestSources:
    def test_all_three_stand_apart(self) -> None:
        scores = {(p, f): 0.5 + 0.1 * p + 0.01 * f for p in range(2) for f in range(3)}
        found = variance_sources(scores, dict.fromkeys(scores, rows_of_counts(COUNTS)), "iou_bin")
        assert found.fine_tuning == pytest.approx(stdev([0.0, 0.01, 0.02]))
        assert known(found.pretraining) > 5 * known(found.fine_tuning)
        assert found.test_cases == pytest.approx(case_deviation(rows_of_counts(COUNTS), "iou_bin"))
        assert (found.pretrainings, found.runs, found.notes) == (2, 6, ())

    def test_what_is_unknown_is_none_and_has_a_reason(self) -> None:
        found = variance_sources({(0, 0): 0.5}, {(0, 0): rows_of_counts(COUNTS)}, "mean_iou_keras")
        assert (found.pretraining, found.fine_tuning, found.test_cases) == (None, None, None)
        assert len(found.notes) == 3
        assert "mean_iou_keras" in found.notes[-1]
