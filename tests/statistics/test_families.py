"""Families of comparisons agree with SciPy, statsmodels and worked examples."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multicomp import pairwise_tukeyhsd

from sg_bench.statistics.families import (
    PAPERS,
    best_of,
    dunnett,
    dunnett_t3,
    games_howell,
    holm,
    papers_test,
    power_warning,
    welch_holm,
)
from sg_bench.statistics.two_sample import students_t, welch
from tests.statistics.test_distributions import slow_maximum_modulus_sf

AGAINST = [dunnett, welch_holm, games_howell]


@pytest.fixture
def groups():
    rng = np.random.default_rng(4)
    shape = {
        "scratch": (0.78, 0.05, 10),
        "rotation": (0.80, 0.02, 8),
        "genesis": (0.83, 0.01, 12),
        "ours": (0.85, 0.01, 9),
    }
    return {name: list(rng.normal(mean, std, n)) for name, (mean, std, n) in shape.items()}


def test_holm_by_hand():
    # 4 x .005; 3 x .01; 2 x .03; .04 once, but no less than the one before
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert list(found) == ["a", "b", "c", "d"]
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


def test_an_empty_family_stays_empty():
    assert holm({}) == {}


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_p_value(wrong):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        holm({"a": 0.1, "b": wrong})


def test_games_howell_gives_a_row_of_scipys_tukey_hsd(groups):
    expected = stats.tukey_hsd(*groups.values(), equal_var=False).pvalue
    found = games_howell(groups, "genesis")
    assert list(found) == ["scratch", "rotation", "ours"]
    assert list(found.values()) == pytest.approx([expected[2, i] for i in (0, 1, 3)], abs=1e-9)


def test_games_howell_is_that_of_statsmodels(groups):
    values = np.concatenate(list(groups.values()))
    names = np.repeat(list(groups), [len(sample) for sample in groups.values()])
    expected = pairwise_tukeyhsd(values, names, use_var="unequal")
    found = games_howell({name: groups[name] for name in sorted(groups)}, "genesis")
    assert list(found.values()) == pytest.approx(list(expected.pvalues[:3]), abs=1e-3)


def test_t3_is_welchs_t_under_the_slow_integral_of_the_maximum_modulus(groups):
    found = dunnett_t3(groups)
    assert list(found) == list(combinations(groups, 2))
    for (a, b), p in found.items():
        test = welch(groups[a], groups[b])
        assert test is not None
        assert p == pytest.approx(slow_maximum_modulus_sf(abs(test.statistic), 6, test.df), abs=1e-8)


def test_t3_is_never_less_strict_than_games_howell(groups):
    strict = dunnett_t3(groups)
    assert all(strict["scratch", name] >= p for name, p in games_howell(groups, "scratch").items())


def test_two_groups_are_compared_by_welch(groups):
    two = {name: groups[name] for name in ("ours", "genesis")}
    test = welch(two["ours"], two["genesis"])
    assert test is not None
    assert dunnett_t3(two) == pytest.approx({("ours", "genesis"): test.p})
    assert games_howell(two, "ours") == pytest.approx({"genesis": test.p})


def test_t3_leaves_out_a_group_below_five_values(groups):
    assert dunnett_t3({**groups, "new": [0.9, 0.91]}) == dunnett_t3(groups)
    assert dunnett_t3({"new": [0.9, 0.91]}) == {}


def test_groups_that_do_not_vary_cannot_be_separated():
    constant = {"a": [0.9] * 5, "b": [0.8] * 5, "c": [0.1, 0.2, 0.3, 0.2, 0.1]}
    strict, loose = dunnett_t3(constant), games_howell(constant, "a")
    assert (strict["a", "b"], loose["b"]) == pytest.approx((1.0, 1.0))
    assert max(strict["a", "c"], loose["c"]) < 0.01


@pytest.mark.parametrize("seed", [1, 2])
def test_dunnett_is_that_of_scipy_within_the_stated_accuracy(groups, seed):
    others = [groups[name] for name in ("rotation", "genesis", "ours")]
    expected = stats.dunnett(*others, control=groups["scratch"], rng=np.random.default_rng(seed)).pvalue
    found = dunnett(groups, "scratch")
    assert list(found) == ["rotation", "genesis", "ours"]
    assert list(found.values()) == pytest.approx(list(expected), abs=2e-4)
    assert found == dunnett(groups, "scratch")


def test_welch_against_is_holm_over_welch(groups):
    tests = {name: welch(groups[name], groups["scratch"]) for name in ("rotation", "genesis", "ours")}
    assert welch_holm(groups, "scratch") == holm({name: test.p for name, test in tests.items() if test})


@pytest.mark.parametrize("against", AGAINST)
def test_a_group_below_five_values_is_not_compared_with_the_control(against, groups):
    assert against({**groups, "new": [0.9, 0.91]}, "scratch") == against(groups, "scratch")
    assert against({**groups, "scratch": [0.1, 0.2]}, "scratch") == {}
    assert against({"scratch": groups["scratch"]}, "scratch") == {}


@pytest.mark.parametrize("against", AGAINST)
def test_nothing_differs_from_a_control_where_nothing_varies(against):
    assert against({"scratch": [0.5] * 5, "ours": [0.6] * 5}, "scratch") == {"ours": 1.0}


@pytest.mark.parametrize("against", AGAINST)
def test_an_unknown_control_is_refused_with_the_names_that_are_known(against, groups):
    with pytest.raises(ValueError, match="'none' is not among the groups: scratch, rotation"):
        against(groups, "none")


def test_the_papers_test_compares_the_best_with_each_other_and_is_named_unadjusted(groups):
    found = papers_test(groups)
    assert list(found) == ["scratch", "rotation", "genesis"]
    assert {test.name for test in found.values()} == {PAPERS}
    assert "unadjusted" in PAPERS
    plain = students_t(groups["ours"], groups["rotation"])
    assert plain is not None
    assert found["rotation"].p == plain.p
    assert found["rotation"].statistic > 0


def test_the_papers_test_is_not_made_where_the_best_has_too_few_values(groups):
    assert papers_test({**groups, "new": [0.99, 0.98]}) == {}
    assert list(papers_test({**groups, "old": [0.1, 0.2]})) == ["scratch", "rotation", "genesis"]


def test_of_equal_means_the_first_is_the_best():
    assert best_of({"a": [0.2], "b": [0.25, 0.75], "c": [0.5, 0.5]}) == "b"


@pytest.mark.parametrize("groups", [{}, {"a": []}])
def test_there_is_no_best_without_scores(groups):
    with pytest.raises(ValueError, match="at least one score"):
        best_of(groups)


@pytest.mark.parametrize(("n", "comparisons"), [(10, 1), (10, 9), (20, 54)])
def test_a_family_that_can_find_something_is_not_warned_of(n, comparisons):
    assert power_warning(n, comparisons) is None


def test_54_comparisons_at_ten_units_are_out_of_reach():
    found = power_warning(10, 54)
    assert found is not None
    assert found.startswith("n = 10 and 54 comparisons: the exact sign-flip test cannot reach 0.05 (least p 0.002, ")
    assert "times 54 is 0.11" in found
    assert "d = 2.19" in found
    assert "Mann-Whitney" not in found


def test_25_comparisons_are_the_most_that_the_sign_flip_test_can_decide_at_ten_units():
    assert "sign-flip" not in (power_warning(10, 25) or "")
    assert "sign-flip" in (power_warning(10, 26) or "")


def test_below_five_units_no_test_is_made():
    assert power_warning(3, 1) == "n = 3 is below 5: no test is made"


@pytest.mark.parametrize(("comparisons", "alpha"), [(0, 0.05), (3, 0.0), (3, 5.0)])
def test_a_family_that_makes_no_sense_is_refused(comparisons, alpha):
    with pytest.raises(ValueError, match="must be at least 1"):
        power_warning(10, comparisons, alpha)
