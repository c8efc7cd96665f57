"""Three sources of spread, each found where it was put, and none invented where it cannot be known."""

import math
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.evaluation.metrics import METRICS, Overlap, auc, score
from sg_bench.statistics import variance
from sg_bench.statistics.bootstrap_auc import RankedScores
from sg_bench.statistics.variance import (
    CaseInterval,
    bootstrap_scores,
    bootstrap_std,
    case_interval,
    resampling_units,
    seed_spread,
    variance_components,
)


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


def case_deviation(rows: list[dict], metric: str, resamples: int = 1000) -> float | None:
    found = bootstrap_scores(rows, [metric], resamples=resamples)
    return bootstrap_std(found[metric]) if metric in found else None


COUNTS = [(40, 60, 50), (10, 30, 20), (0, 5, 0), (80, 90, 100), (5, 20, 50), (33, 40, 44), (1, 9, 9), (70, 75, 80)]


class TestSeedSpread:
    def test_the_worked_example_of_three_pretrainings_comes_out(self) -> None:
        scores = {(0, 0): 0.50, (0, 1): 0.54, (1, 0): 0.60, (1, 1): 0.64, (2, 0): 0.70, (2, 1): 0.74}
        found = seed_spread(scores)
        # within: 3 x 2 x 0.02**2 / 3 = 0.0008; between: 2 x (0.1**2 + 0 + 0.1**2) / 2 = 0.02; (0.02 - 0.0008) / 2
        assert found.fine_tuning == pytest.approx(math.sqrt(0.0008))
        assert found.pretraining == pytest.approx(math.sqrt(0.0096))
        assert found.notes == ()

    def test_unbalanced_runs_are_weighted_as_in_the_model(self) -> None:
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

    def test_with_one_pretraining_its_variance_is_unknown_and_noted_to_be(self) -> None:
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
        assert "confounded" in found.notes[0]

    def test_a_negative_estimate_is_set_to_zero_and_noted(self) -> None:
        found = seed_spread({(0, 0): 0.4, (0, 1): 0.6, (1, 0): 0.4, (1, 1): 0.6})
        assert found.pretraining == 0
        assert "negative" in found.notes[0]

    @given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.floats(0, 1), min_size=1))
    def test_it_is_a_number_of_at_least_zero_or_none_with_a_reason(self, scores) -> None:
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
        (draws,) = variance._unit_weights(30, 30, 60, 0)
        place = resampling_units([{"case": name} for name in names])[1].codes
        drawn = [np.repeat(np.arange(30), counts[place].astype(int)) for counts in draws]
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


class TestPatients:
    """Rows that know their patient are drawn a patient at a time, whatever their images are called."""

    ROWS = [{**row, "case": f"image-{i}", "patient": f"p{i // 4}"} for i, row in enumerate(rows_of_counts(4 * COUNTS))]

    def test_images_of_one_patient_are_drawn_together(self) -> None:
        alike = [row for row in rows_of_counts(COUNTS) for _ in range(4)]
        owned = [{**row, "case": f"image-{i}", "patient": row["case"]} for i, row in enumerate(alike)]
        apart = [{**row, "case": f"image-{i}"} for i, row in enumerate(alike)]
        by_patient, by_image = known(case_deviation(owned, "iou_bin")), known(case_deviation(apart, "iou_bin"))
        assert by_patient == pytest.approx(case_deviation(rows_of_counts(COUNTS), "iou_bin"), rel=0.1)
        assert by_patient > 1.5 * by_image

    def test_the_unit_is_the_patient_only_where_every_row_knows_its_own(self) -> None:
        unit, names = resampling_units(self.ROWS)
        assert (unit, list(names)) == ("patients", [f"p{i // 4}" for i in range(32)])
        unit, names = resampling_units([*self.ROWS, {"case": "image-99#2"}])
        assert (unit, names[-1]) == ("images", "image-99")
        unit, names = resampling_units([])
        assert (unit, list(names)) == ("images", [])

    def test_one_patient_with_many_images_is_unknown(self) -> None:
        assert case_deviation([{**row, "patient": "p0"} for row in self.ROWS], "iou_bin") is None


class TestSeveralOutputs:
    NAMES = ("Mass", "Nodule", "Hernia")

    @pytest.fixture
    def rows(self) -> list[dict]:
        rng = np.random.default_rng(4)
        truths = rng.random((40, 3)) < 0.4
        scores = np.round(rng.normal(truths, 1), 1)
        cases = {f"film-{i:02}": i for i in range(40)}
        found, true = ({case: part[i] for case, i in cases.items()} for part in (scores, truths))
        _, rows = score("classification", found, true, self.NAMES)
        return [{**row, "patient": f"p{i // 2}"} for i, row in enumerate(rows)]

    def test_each_output_is_that_of_sklearn_on_the_drawn_patients_and_the_mean_is_theirs(
        self, rows: list[dict]
    ) -> None:
        names = ["auc", *(f"auc_{name}" for name in self.NAMES)]
        drawn = bootstrap_scores(rows, names, self.NAMES, resamples=30)
        (counts,) = variance._unit_weights(20, 40, 30, 0)
        place = resampling_units(rows)[1].codes
        scores, truths = (np.array([row[part] for row in rows]) for part in ("score", "truth"))
        chosen = [np.repeat(np.arange(40), each[place].astype(int)) for each in counts]
        for output, name in enumerate(self.NAMES):
            plain = [auc(scores[cases, output], truths[cases, output]) for cases in chosen]
            assert drawn[f"auc_{name}"] == pytest.approx(plain)
        assert drawn["auc"] == pytest.approx(np.mean([drawn[name] for name in names[1:]], axis=0))

    def test_without_names_there_is_the_mean_alone(self, rows: list[dict]) -> None:
        assert bootstrap_scores(rows, ["auc", "auc_Mass"], resamples=5).keys() == {"auc"}

    def test_a_test_set_without_a_positive_of_one_output_has_no_mean(self, rows: list[dict]) -> None:
        rare = [{**row, "truth": [*row["truth"][:2], int(i == 7)]} for i, row in enumerate(rows)]
        drawn = bootstrap_scores(rare, ["auc", "auc_Mass", "auc_Hernia"], self.NAMES)
        without = np.isnan(drawn["auc_Hernia"])
        assert without.mean() == pytest.approx(math.exp(-1), abs=0.06)  # the one patient is not drawn
        assert np.array_equal(np.isnan(drawn["auc"]), without | np.isnan(drawn["auc_Mass"]))
        found = case_interval([drawn["auc"]])
        assert found is not None
        assert (found.resamples, found.left_out) == (1000, int(np.isnan(drawn["auc"]).sum()))


class TestCaseInterval:
    def test_of_a_mean_of_numbers_it_contains_the_truth_as_often_as_its_level(self) -> None:
        rng, held = np.random.default_rng(5), 0
        for trial in range(200):
            rows = [{"case": f"p{i}", "iou_case": float(value)} for i, value in enumerate(rng.uniform(size=60))]
            found = case_interval([bootstrap_scores(rows, ["iou_case"], seed=trial)["iou_case"]])
            assert found is not None
            held += found.low <= 0.5 <= found.high
        assert held / 200 == pytest.approx(0.95, abs=0.04)

    def test_runs_of_one_test_set_are_drawn_alike_so_their_mean_is_no_narrower_for_being_two(self) -> None:
        one = bootstrap_scores(rows_of_counts(COUNTS), ["iou_bin"])["iou_bin"]
        assert case_interval([one, one]) == case_interval([one])

    def test_test_sets_drawn_part_by_part_are_those_drawn_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = rows_of_counts(COUNTS)
        kept = bootstrap_scores(rows, ["iou_bin"])["iou_bin"]
        monkeypatch.setattr(variance, "AT_ONCE", 50)
        assert bootstrap_scores(rows, ["iou_bin"])["iou_bin"].tobytes() == kept.tobytes()

    def test_areas_of_large_test_sets_do_not_overflow(self) -> None:
        cases, half = 120_000, 60_000
        scores = np.where(np.arange(cases) < half, 1.0, 0.0)
        ranked = RankedScores.of(scores, scores, np.arange(cases) % 2, 2)
        assert ranked.areas(np.array([[1, 2], [1, 0]], np.int32)).tolist() == [1.0, 1.0]

    def test_too_few_test_sets_with_a_value_and_no_run_have_none(self) -> None:
        drawn = np.full(1000, math.nan)
        assert case_interval([]) is None
        drawn[:99] = 0.5
        assert case_interval([drawn]) is None
        drawn[:100] = 0.5
        assert case_interval([drawn]) == CaseInterval(0.5, 0.5, 1000, 900)


class TestSources:
    def test_all_three_stand_apart(self) -> None:
        scores = {(p, f): 0.5 + 0.1 * p + 0.01 * f for p in range(2) for f in range(3)}
        found = variance_components(
            scores, [case_deviation(rows_of_counts(COUNTS), "iou_bin")] * len(scores), "iou_bin"
        )
        assert found.fine_tuning == pytest.approx(stdev([0.0, 0.01, 0.02]))
        assert known(found.pretraining) > 5 * known(found.fine_tuning)
        assert found.test_cases == pytest.approx(case_deviation(rows_of_counts(COUNTS), "iou_bin"))
        assert (found.pretrainings, found.runs, found.notes) == (2, 6, ())

    def test_what_is_unknown_is_none_and_has_a_reason(self) -> None:
        found = variance_components({(0, 0): 0.5}, [], "mean_iou_keras")
        assert (found.pretraining, found.fine_tuning, found.test_cases) == (None, None, None)
        assert len(found.notes) == 3
        assert "mean_iou_keras" in found.notes[-1]
