"""What is not shown to be worse than the best stands beside it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.statistics.families import dunnett_t3
from sg_bench.statistics.ties import separate

WAVE = np.array([-1.0, -0.5, 0.0, 0.5, 1.0, 0.0])


def around(mean, spread=0.01):
    return list(mean + spread * WAVE)


def test_methods_stand_in_tiers_of_which_each_begins_with_the_best_that_is_left():
    groups = {"c": around(0.5), "a": around(0.9), "d": around(0.495), "b": around(0.895)}
    found = separate(groups)
    assert found.best == "a"
    assert found.inseparable == {"a", "b"}
    assert found.tiers == (("a", "b"), ("c", "d"))
    assert found.reason is None


def test_the_p_values_are_those_of_all_pairs():
    groups = {"b": around(0.895), "a": around(0.9), "c": around(0.88)}
    pairs = dunnett_t3(groups)
    assert separate(groups).p == {"b": pairs["b", "a"], "c": pairs["a", "c"]}


def test_a_method_between_two_tiers_joins_the_upper_one():
    groups = {"a": around(0.90), "b": around(0.89), "c": around(0.88)}
    found = separate(groups)
    assert found.tiers == (("a", "b"), ("c",))
    assert dunnett_t3(groups)["b", "c"] > 0.05


def test_a_noisy_method_is_inseparable_although_one_above_it_is_not():
    groups = {"a": around(0.90), "b": around(0.85), "noisy": around(0.80, 0.2)}
    assert separate(groups).tiers == (("a", "noisy"), ("b",))


def test_with_too_few_values_no_test_is_made_and_nothing_is_separable():
    found = separate({"b": [0.1, 0.1], "a": around(0.9)})
    assert found.reason == "n = 2 is below 5: no test was made"
    assert found.inseparable == {"a", "b"}
    assert (found.best, found.tiers, found.p) == ("a", (("a", "b"),), {})


def test_one_method_alone_is_the_best_without_a_test():
    found = separate({"a": around(0.9)})
    assert (found.best, found.tiers, found.p) == ("a", (("a",),), {})
    assert found.reason == "there is only one method: no test was made"


def test_methods_that_reach_the_same_score_in_every_run_are_tied():
    found = separate({"a": [1.0] * 5, "b": [1.0] * 5, "c": around(0.5)})
    assert found.tiers == (("a", "b"), ("c",))


def test_a_stricter_level_separates_less():
    groups = {"a": around(0.90), "b": around(0.885)}
    p = separate(groups).p["b"]
    assert separate(groups, alpha=p * 1.01).inseparable == {"a"}
    assert separate(groups, alpha=p * 0.99).inseparable == {"a", "b"}


@pytest.mark.parametrize("groups", [{}, {"a": []}])
def test_nothing_is_separated_without_scores(groups):
    with pytest.raises(ValueError, match="at least one score"):
        separate(groups)


@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_a_level_that_makes_no_sense_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must lie in"):
        separate({"a": around(0.9)}, alpha)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), min_size=2, max_size=6))
def test_tiers_part_the_methods_in_order_and_every_head_differs_from_those_above(shapes):
    groups = {f"m{place}": around(mean / 100, spread / 200) for place, (mean, spread) in enumerate(shapes)}
    found, pairs = separate(groups), dunnett_t3(groups)
    pairs |= {(b, a): p for (a, b), p in pairs.items()}
    assert sorted(name for tier in found.tiers for name in tier) == sorted(groups)
    assert found.tiers[0][0] == found.best
    assert found.inseparable == set(found.tiers[0])
    for place, tier in enumerate(found.tiers):
        assert all(pairs[tier[0], name] >= 0.05 for name in tier[1:])
        assert all(pairs[above[0], name] < 0.05 for above in found.tiers[:place] for name in tier)
