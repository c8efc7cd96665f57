"""Effects are positive, or above one half, where the first method is better."""

import math

import numpy as np
import pytest

from sg_bench.statistics.effects import cliffs_delta, hedges_g, probability_of_improvement


def test_hedges_g_by_hand():
    # difference 1, pooled standard deviation 2, 4 degrees of freedom: gamma(2) / (sqrt(2) gamma(1.5)) = 0.7978846
    assert hedges_g([2, 4, 6], [1, 3, 5]) == pytest.approx(0.7978846 / 2, abs=1e-7)


def test_the_small_sample_correction_is_close_to_hedges_approximation():
    a, b = np.random.default_rng(0).normal(0, 1, (2, 10))
    d = (a.mean() - b.mean()) / math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert hedges_g(list(a), list(b)) == pytest.approx(d * (1 - 3 / (4 * 18 - 1)), rel=1e-3)


def test_hedges_g_is_unbiased_where_cohens_d_is_not():
    rng = np.random.default_rng(1)
    found = [hedges_g(list(rng.normal(1, 1, 5)), list(rng.normal(0, 1, 5))) or 0.0 for _ in range(4000)]
    assert np.mean(found) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize(("a", "b"), [([0.5], [0.1, 0.2]), ([0.5, 0.5], [0.4, 0.4]), ([], [])])
def test_without_a_spread_there_is_no_hedges_g(a, b):
    assert hedges_g(a, b) is None


def test_cliffs_delta_and_the_probability_of_improvement_by_hand():
    # of the four pairs a is above in three and equal in one
    assert cliffs_delta([3, 4], [1, 3]) == 0.75
    assert probability_of_improvement([3, 4], [1, 3]) == 0.875


@pytest.mark.parametrize("effect", [cliffs_delta, probability_of_improvement])
def test_without_scores_there_is_no_effect(effect):
    assert effect([], [0.1]) is None


@pytest.mark.parametrize("effect", [hedges_g, cliffs_delta])
def test_swapping_the_methods_turns_the_sign(effect):
    a, b = [0.8, 0.9, 0.85], [0.7, 0.86, 0.6]
    assert effect(a, b) > 0
    assert effect(b, a) == -effect(a, b)
