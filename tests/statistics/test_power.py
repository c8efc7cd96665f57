"""Power, least detectable effect and needed units: statsmodels is the oracle, a simulation the judge of Welch."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg_bench.statistics.power import MAX_UNITS, detectable, power_of, units_needed


@pytest.fixture(scope="module")
def independent():
    return pytest.importorskip("statsmodels.stats.power").TTestIndPower()


@pytest.fixture(scope="module")
def one_sample():
    return pytest.importorskip("statsmodels.stats.power").TTestPower()


class TestPowerOf:
    @pytest.mark.parametrize(("n_a", "n_b"), [(2, 2), (5, 5), (10, 10), (6, 12), (30, 7)])
    @pytest.mark.parametrize("effect", [0.0, 0.3, -0.9, 1.32, 2.0])
    def test_it_is_statsmodels(self, independent, n_a: int, n_b: int, effect: float) -> None:
        theirs = independent.power(effect, n_a, 0.05 / 4, ratio=n_b / n_a)
        assert power_of(effect, n_a, n_b, comparisons=4) == pytest.approx(theirs, abs=1e-9)

    @pytest.mark.parametrize("effect", [-0.5, 0.0, 0.5, 1.5])
    def test_one_direction_is_statsmodels(self, independent, effect: float) -> None:
        theirs = independent.power(effect, 8, 0.05, alternative="larger")
        assert power_of(effect, 8, 8, alternative="greater") == pytest.approx(theirs, abs=1e-9)

    def test_one_side_is_statsmodels_one_sample_test(self, one_sample) -> None:
        assert power_of(0.7, 12, None) == pytest.approx(one_sample.power(0.7, 12, 0.05), abs=1e-9)

    def test_without_an_effect_it_is_the_level_shared_by_the_comparisons(self) -> None:
        assert power_of(0.0, 10, 10) == pytest.approx(0.05)
        assert power_of(0.0, 10, 10, comparisons=9) == pytest.approx(0.05 / 9)

    @pytest.mark.parametrize("effect", [10, 100, 1e4, -1e4])
    def test_a_huge_effect_is_certain_to_be_found(self, effect: float) -> None:
        assert power_of(effect, 5, 5, comparisons=54) == pytest.approx(1, abs=1e-6)

    @given(st.floats(0, 5), st.integers(2, 40), st.integers(2, 40), st.integers(1, 60))
    @settings(max_examples=60, deadline=None)
    def test_it_is_a_probability_and_the_same_for_either_sign(self, effect, n_a, n_b, comparisons) -> None:
        found = power_of(effect, n_a, n_b, comparisons=comparisons)
        assert 0 <= found <= 1 + 1e-12
        assert found == pytest.approx(power_of(-effect, n_a, n_b, comparisons=comparisons))

    def test_welch_with_equal_variances_and_sizes_is_student(self) -> None:
        assert power_of(1.0, 9, 9, ratio=1.0) == pytest.approx(power_of(1.0, 9, 9))

    def test_welch_with_unequal_variances_rejects_as_often_as_simulated(self) -> None:
        from scipy.stats import ttest_ind

        rng, ratio, effect, n_a, n_b = np.random.default_rng(0), 1 / 9, 1.2, 10, 14
        a = rng.normal(effect * math.sqrt((1 + ratio) / 2), 1, (20_000, n_a))
        b = rng.normal(0, math.sqrt(ratio), (20_000, n_b))
        rejected = np.mean(ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05)
        assert power_of(effect, n_a, n_b, ratio=ratio) == pytest.approx(rejected, abs=0.012)

    @pytest.mark.parametrize(
        ("n_a", "n_b", "comparisons", "alpha"), [(1, 5, 1, 0.05), (5, 1, 1, 0.05), (5, 5, 0, 0.05), (5, 5, 1, 0.0)]
    )
    def test_what_makes_no_sense_is_refused(self, n_a: int, n_b: int, comparisons: int, alpha: float) -> None:
        with pytest.raises(ValueError, match="at least"):
            power_of(1.0, n_a, n_b, comparisons=comparisons, alpha=alpha)


class TestDetectable:
    @pytest.mark.parametrize(("comparisons", "effect"), [(1, 1.32), (9, 1.81), (54, 2.19)])
    def test_ten_seeds_a_side_find_what_is_published_of_ten_seeds(self, comparisons: int, effect: float) -> None:
        assert round(detectable(10, 10, comparisons), 2) == effect

    @pytest.mark.parametrize(("n", "comparisons"), [(5, 1), (10, 9), (25, 54)])
    def test_it_is_statsmodels(self, independent, n: int, comparisons: int) -> None:
        theirs = independent.solve_power(nobs1=n, alpha=0.05 / comparisons, power=0.8)
        assert detectable(n, n, comparisons) == pytest.approx(theirs, abs=1e-4)

    @given(st.integers(2, 60), st.integers(1, 54), st.sampled_from([0.5, 0.8, 0.95]))
    @settings(max_examples=40, deadline=None)
    def test_its_power_is_the_one_asked_for(self, n: int, comparisons: int, power: float) -> None:
        effect = detectable(n, n, comparisons, 0.05, power)
        assert power_of(effect, n, n, comparisons=comparisons) == pytest.approx(power, abs=1e-6)

    @pytest.mark.parametrize("power", [0.05, 0.01, 1.0])
    def test_a_power_below_the_level_or_certainty_is_refused(self, power: float) -> None:
        with pytest.raises(ValueError, match="power must be between"):
            detectable(10, 10, power=power)


class TestUnitsNeeded:
    @pytest.mark.parametrize(("effect", "comparisons"), [(0.2, 1), (0.5, 9), (1.0, 1), (1.0, 54)])
    def test_it_is_statsmodels_rounded_up(self, independent, effect: float, comparisons: int) -> None:
        theirs = independent.solve_power(effect, alpha=0.05 / comparisons, power=0.8)
        assert units_needed(effect, comparisons) == math.ceil(theirs)

    def test_one_side_is_statsmodels_rounded_up(self, one_sample) -> None:
        assert units_needed(0.5, sides=1) == math.ceil(one_sample.solve_power(0.5, alpha=0.05, power=0.8))

    @given(st.floats(0.05, 3), st.integers(1, 54), st.sampled_from([None, 0.0, 0.3]))
    @settings(max_examples=40, deadline=None)
    def test_it_is_the_first_number_that_is_enough(self, effect: float, comparisons: int, ratio: float | None) -> None:
        n = units_needed(effect, comparisons, ratio=ratio)
        assert n is not None
        assert power_of(effect, n, n, comparisons=comparisons, ratio=ratio) >= 0.8
        assert n == 2 or power_of(effect, n - 1, n - 1, comparisons=comparisons, ratio=ratio) < 0.8

    def test_it_never_falls_below_the_least(self) -> None:
        assert units_needed(50.0, least=5) == 5

    def test_an_effect_of_nothing_is_never_found(self) -> None:
        assert units_needed(0.0) is None
        assert units_needed(1 / MAX_UNITS) is None
