"""Interquartile mean and probability of improvement across tasks: by hand, against scipy, and the same every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, mannwhitneyu, trim_mean

from sg_bench.statistics.aggregate import iqm_interval, probability_of_improvement

SCRATCH = [[0.70, 0.72, 0.68, 0.71], [0.50, 0.52, 0.51, 0.49]]
BETTER = [[0.80, 0.82, 0.78, 0.81], [0.60, 0.62, 0.61, 0.59]]


def interquartile_mean(values):
    return iqm_interval({"a": [values]}, resamples=1)["a"].value


class TestInterquartileMean:
    def test_a_quarter_is_left_out_at_either_end(self) -> None:
        assert interquartile_mean([9.0, 1.0, 2.0, -50.0]) == 1.5
        assert interquartile_mean([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 70.0]) == 3.5

    def test_fewer_than_four_values_are_all_kept(self) -> None:
        assert interquartile_mean([0.2]) == 0.2
        assert interquartile_mean([0.1, 0.2, 0.9]) == pytest.approx(0.4)

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
    def test_it_is_scipys_trimmed_mean(self, values: list[float]) -> None:
        assert interquartile_mean(values) == pytest.approx(trim_mean(values, 0.25), abs=1e-12)

    def test_tasks_by_units_count_as_one_set_of_values(self) -> None:
        found = iqm_interval({"a": BETTER}, resamples=1)["a"].value
        assert found == pytest.approx(trim_mean(np.ravel(BETTER), 0.25))


class TestInterval:
    def test_the_value_is_that_of_all_scores(self) -> None:
        found = iqm_interval({"scratch": SCRATCH, "better": BETTER})
        assert list(found) == ["scratch", "better"]
        assert found["better"].value == pytest.approx(trim_mean(np.ravel(BETTER), 0.25))
        assert all(each.low <= each.value <= each.high for each in found.values())

    def test_the_same_seed_gives_the_same_interval_and_another_seed_another(self) -> None:
        one, same = (iqm_interval({"a": BETTER}, seed=3) for _ in range(2))
        assert one == same
        assert one["a"].low != iqm_interval({"a": BETTER}, seed=4, resamples=101)["a"].low

    def test_with_one_task_it_is_scipys_percentile_interval(self) -> None:
        values = np.random.default_rng(1).normal(0.7, 0.05, 12)
        ours = iqm_interval({"a": [list(values)]}, resamples=20_000)["a"]
        theirs = bootstrap(
            (values,),
            lambda x, axis: trim_mean(x, 0.25, axis=axis),
            n_resamples=20_000,
            method="percentile",
            rng=np.random.default_rng(2),
        ).confidence_interval
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)

    def test_units_are_drawn_within_their_task(self) -> None:
        constant = [[0.2] * 5, [0.9] * 5]
        found = iqm_interval({"a": constant})["a"]
        assert found.low == found.high == pytest.approx(found.value)

    def test_relative_to_scratch_zero_is_scratch_and_one_is_perfect(self) -> None:
        scores = {"scratch": [[0.6, 0.6], [0.2, 0.2]], "half": [[0.8, 0.8], [0.6, 0.6]], "perfect": [[1.0], [1.0]]}
        found = iqm_interval(scores, relative_to="scratch")
        assert [found[name].value for name in scores] == pytest.approx([0.0, 0.5, 1.0])

    def test_the_spread_of_scratch_widens_what_is_relative_to_it(self) -> None:
        steady, shaky = [[0.5] * 6], [[0.3, 0.7, 0.4, 0.6, 0.2, 0.8]]
        widths = [
            (found := iqm_interval({"scratch": scratch, "a": [[0.8] * 6]}, relative_to="scratch")["a"]).high - found.low
            for scratch in (steady, shaky)
        ]
        assert widths[0] == 0
        assert widths[1] > 0.1

    def test_units_that_all_tasks_share_are_drawn_together(self) -> None:
        lucky = [0.1, 0.3, 0.5, 0.7, 0.9]
        apart, together = (
            iqm_interval({"a": [lucky, lucky, lucky]}, shared_units=shared)["a"] for shared in (False, True)
        )
        assert together.high - together.low > 1.3 * (apart.high - apart.low)

    def test_tasks_may_differ_in_their_number_of_units(self) -> None:
        assert iqm_interval({"a": [[0.1, 0.2], [0.3, 0.4, 0.5]]})["a"].value == pytest.approx(0.3)

    @pytest.mark.parametrize(
        ("scores", "settings", "message"),
        [
            ({"a": [[0.1]], "b": [[0.1], [0.2]]}, {}, "the same tasks"),
            ({"a": []}, {}, "at least one"),
            ({"a": [[0.1], []]}, {}, "without a score"),
            ({"a": [[0.1, 0.2], [0.1]]}, {"shared_units": True}, "as many units"),
            ({"a": [[0.1]]}, {"relative_to": "b"}, "one of a"),
            ({"a": [[1.0, 1.0]]}, {"relative_to": "a"}, "cannot be the reference"),
        ],
    )
    def test_what_cannot_be_compared_is_refused(self, scores, settings, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            iqm_interval(scores, **settings)


class TestProbabilityOfImprovement:
    def test_it_is_the_share_of_pairs_averaged_over_tasks(self) -> None:
        better, than = [[0.5, 0.9], [0.4]], [[0.6, 0.8], [0.4]]
        assert probability_of_improvement(better, than).value == pytest.approx((0.5 + 0.5) / 2)
        assert probability_of_improvement([[0.9]], [[0.1]]).value == 1.0

    def test_on_one_task_it_is_the_scaled_mann_whitney_statistic(self) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.normal(0.6, 0.1, 9), rng.normal(0.5, 0.1, 7)
        theirs = mannwhitneyu(a, b).statistic / 63
        assert probability_of_improvement([list(a)], [list(b)]).value == pytest.approx(theirs)

    def test_the_two_directions_add_up_to_one_and_a_method_beats_itself_half_of_the_time(self) -> None:
        one, other = probability_of_improvement(BETTER, SCRATCH), probability_of_improvement(SCRATCH, BETTER)
        assert one.value + other.value == pytest.approx(1)
        assert probability_of_improvement(BETTER, BETTER).value == pytest.approx(0.5)

    def test_its_interval_holds_it_and_is_the_same_every_time(self) -> None:
        rng = np.random.default_rng(5)
        a, b = rng.normal(0.55, 0.1, (3, 8)).tolist(), rng.normal(0.5, 0.1, (3, 8)).tolist()
        found = probability_of_improvement(a, b)
        assert found == probability_of_improvement(a, b)
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert probability_of_improvement(a, b, shared_units=True).value == found.value
