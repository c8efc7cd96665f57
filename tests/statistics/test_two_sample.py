"""Each test agrees with SciPy, with counting by hand, or with a worked example."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sg_bench.statistics.two_sample import (
    MIN_UNITS,
    mann_whitney,
    paired_t,
    sign_flip,
    students_t,
    welch,
)

ALTERNATIVES = ["two-sided", "greater", "less"]
ALL = [students_t, welch, mann_whitney, paired_t, sign_flip]
BY_PERMUTATION = [mann_whitney, sign_flip]

DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Crossed minus self-fertilised maize in eighths of an inch: Fisher, The Design of Experiments, table 3."""


def drawn(n=8, m=6, seed=0):
    rng = np.random.default_rng(seed)
    return list(rng.normal(0.82, 0.02, n)), list(rng.normal(0.80, 0.05, m))


def of_moments(mean, std, n=10):
    """Return n values of exactly this mean and standard deviation (ddof 1)."""
    values = np.random.default_rng(0).normal(0, 1, n)
    return list(mean + std * (values - values.mean()) / values.std(ddof=1))


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize(("test", "pooled"), [(students_t, True), (welch, False)])
def test_independent_t_tests_are_those_of_scipy(test, pooled, alternative):
    a, b = drawn()
    expected = stats.ttest_ind(a, b, equal_var=pooled, alternative=alternative)
    found = test(a, b, alternative)
    assert (found.statistic, found.p, found.df) == pytest.approx((expected.statistic, expected.pvalue, expected.df))
    assert (found.n, found.alternative) == (6, alternative)


def test_welch_gives_the_published_p_of_the_liver_task_if_taken_one_sided():
    """Semantic Genesis 86.53 ± 1.30 against Models Genesis 85.1 ± 2.15, n = 10: printed 4.6e-2."""
    a, b = of_moments(86.53, 1.30), of_moments(85.1, 2.15)
    assert welch(a, b, "greater").p == pytest.approx(0.046, abs=5e-4)
    assert welch(a, b).p == pytest.approx(0.092, abs=1e-3)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_mann_whitney_is_that_of_scipy(alternative):
    a, b = drawn(9, 11)
    expected = stats.mannwhitneyu(a, b, alternative=alternative, method="exact")
    found = mann_whitney(a, b, alternative)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.name == "Mann-Whitney (exact)"


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_mann_whitney_counts_every_division_of_tied_values(alternative):
    a, b = [1, 2, 2, 3, 5], [2, 3, 3, 5, 5, 6]
    pooled = np.array(a + b)
    ranks = stats.rankdata(pooled)
    sums = np.array([ranks[list(chosen)].sum() for chosen in itertools.combinations(range(11), 5)])
    less, greater = (sums <= ranks[:5].sum()).mean(), (sums >= ranks[:5].sum()).mean()
    expected = {"less": less, "greater": greater, "two-sided": min(1, 2 * min(less, greater))}[alternative]
    assert mann_whitney(a, b, alternative).p == pytest.approx(expected)


def test_mann_whitney_of_many_values_names_its_approximation():
    a, b = drawn(60, 50)
    found = mann_whitney(a, b)
    assert found.name == "Mann-Whitney (normal approximation)"
    assert found.p == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").pvalue)


def test_mann_whitney_of_tied_values_draws_permutations_from_a_fixed_seed_where_there_are_too_many():
    a, b = (list(np.round(values, 2)) for values in drawn(10, 10))
    found = mann_whitney(a, b)
    assert found == mann_whitney(a, b)
    assert found.name == "Mann-Whitney (20000 permutations)"
    assert found.p == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").pvalue, abs=0.03)


def test_the_least_p_of_mann_whitney_is_two_over_the_number_of_divisions():
    assert mann_whitney([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]).p == pytest.approx(2 / 252)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_the_paired_t_test_is_that_of_scipy(alternative):
    a, b = drawn(8, 8)
    expected = stats.ttest_rel(a, b, alternative=alternative)
    found = paired_t(a, b, alternative)
    assert (found.statistic, found.p, found.df) == pytest.approx((expected.statistic, expected.pvalue, 7))


def test_the_sign_flip_test_gives_fishers_p_of_darwins_maize():
    """1726 of the 32 768 choices of signs have a sum as far from 0: The Design of Experiments, section 21."""
    assert sign_flip(DARWIN, [0] * 15).p == 1726 / 32768


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_the_sign_flip_test_is_scipys_exact_permutation_test(alternative):
    a, b = drawn(9, 9)
    expected = stats.permutation_test(
        (np.array(a) - np.array(b),),
        np.mean,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative=alternative,
        vectorized=True,
    )
    assert sign_flip(a, b, alternative).p == pytest.approx(expected.pvalue)


def test_the_sign_flip_test_of_many_pairs_draws_from_a_fixed_seed():
    a, b = drawn(40, 40, seed=3)
    found = sign_flip(a, b)
    assert found == sign_flip(a, b)
    assert found.name == "sign flip (20000 draws)"
    assert found.p == pytest.approx(paired_t(a, b).p, abs=0.01)


@pytest.mark.parametrize("test", ALL)
def test_below_five_units_there_is_no_test(test):
    rising = [0.1 * step for step in range(MIN_UNITS)]
    assert test(rising[1:], rising[:-1]) is None
    assert test(rising, rising[::-1]) is not None


@pytest.mark.parametrize("test", [students_t, welch, mann_whitney])
def test_one_short_sample_is_enough_for_no_test(test):
    assert test([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) is None


@pytest.mark.parametrize("test", [students_t, welch, paired_t])
def test_a_t_test_has_nothing_to_judge_by_where_nothing_varies(test):
    assert test([0.9] * 6, [0.8] * 6) is None
    assert test([0.1 + 0.2] * 3 + [0.3] * 3, [0.2] * 6) is None


def test_a_paired_t_test_has_nothing_to_judge_by_where_no_difference_varies():
    a = [0.71, 0.83, 0.64, 0.92, 0.77]
    assert paired_t([score + 0.01 for score in a], a) is None


@pytest.mark.parametrize("test", [students_t, welch, mann_whitney])
def test_samples_that_hardly_vary_raise_no_warning(test):
    assert test([0.9, 0.9, 0.9, 0.9, 0.9 + 1e-9], [0.8] * 5).p < 0.01


@pytest.mark.parametrize("test", BY_PERMUTATION)
def test_a_permutation_test_of_equal_values_has_p_one(test):
    assert test([0.5] * 6, [0.5] * 6).p == 1.0


@pytest.mark.parametrize("test", BY_PERMUTATION)
def test_a_permutation_test_needs_no_spread(test):
    assert test([0.9] * 6, [0.8] * 6).p < 0.05


@pytest.mark.parametrize("test", [paired_t, sign_flip])
def test_pairs_of_two_lengths_are_refused(test):
    with pytest.raises(ValueError, match="one length, not 6 and 5"):
        test([0.1] * 6, [0.2] * 5)


@pytest.mark.parametrize("test", ALL)
def test_a_score_that_is_not_a_number_is_refused(test):
    with pytest.raises(ValueError, match="finite"):
        test([0.1, 0.2, 0.3, 0.4, float("nan")], [0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("test", ALL)
@settings(deadline=None)
@given(data=st.data())
def test_swapping_the_samples_leaves_the_two_sided_p_and_swaps_the_one_sided(test, data):
    score = st.integers(0, 20).map(lambda twentieth: twentieth / 20)
    a, b = (data.draw(st.lists(score, min_size=MIN_UNITS, max_size=MIN_UNITS)) for _ in range(2))
    if (found := test(a, b)) is None:
        return
    assert 0 <= found.p <= 1
    assert test(b, a).p == pytest.approx(found.p, abs=1e-12)
    assert test(b, a, "less").p == pytest.approx(test(a, b, "greater").p, abs=1e-12)
