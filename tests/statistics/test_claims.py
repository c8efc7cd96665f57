"""A claim is supported, not supported, or cannot be decided; each verdict says why, and none is made too easily."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind, ttest_rel

from sg_bench.statistics.claims import ClaimData, ClaimVerdict, evaluate_claims
from sg_bench.statistics.effects import hedges_g
from sg_bench.statistics.power import power_of
from sg_bench.statistics.units import Units

LOW = (0.50, 0.52, 0.48, 0.51, 0.49, 0.53)
HIGH = (0.60, 0.63, 0.58, 0.61, 0.59, 0.60)
NEAR = (0.505, 0.525, 0.500, 0.515, 0.480, 0.540)


def known(value: float | None) -> float:
    assert value is not None
    return value


def units(values: tuple[float, ...], kind: Any = "pretraining") -> Units:
    return Units(values, tuple(range(len(values))), kind)


def argument(better=HIGH, than: Any = LOW, name: str = "claim", **settings: Any) -> ClaimData:
    return ClaimData(name, units(better), than if isinstance(than, float) else units(than), **settings)


def verdict(*arguments: Any, **settings: Any) -> ClaimVerdict:
    return evaluate_claims([argument(*arguments, **settings)])[0]


class TestOutcome:
    def test_a_clear_difference_in_the_claimed_direction_is_supported(self) -> None:
        found = verdict()
        assert found.outcome == "supported"
        assert found.p == pytest.approx(ttest_ind(HIGH, LOW, equal_var=False).pvalue)
        assert (found.adjusted, found.comparisons, found.n) == (found.p, 1, (6, 6))
        assert found.difference == pytest.approx(np.mean(HIGH) - np.mean(LOW))
        assert found.effect == pytest.approx(hedges_g(HIGH, LOW))
        assert not found.checkpoint_only

    def test_a_clear_difference_the_other_way_is_not_supported(self) -> None:
        found = verdict(LOW, HIGH)
        assert found.outcome == "not supported"
        assert "the opposite direction" in found.reason

    def test_one_direction_never_supports_the_other(self) -> None:
        found = verdict(LOW, HIGH, alternative="greater")
        assert found.outcome == "not supported"
        assert found.p == pytest.approx(1, abs=1e-4)

    def test_no_difference_found_is_not_supported_and_tells_what_would_be_found(self) -> None:
        found = verdict(NEAR, LOW)
        assert found.outcome == "not supported"
        assert "is above 0.05" in found.reason
        assert "standard deviations is 0.8" in found.reason

    def test_no_difference_found_where_the_least_one_would_hardly_be_cannot_be_decided(self) -> None:
        found = verdict(NEAR, LOW, least_difference=0.02)
        assert found.outcome == "cannot be decided"
        assert "the power for a difference of 2.00 points is only 0." in found.reason
        assert "pretraining seeds would suffice" in found.reason

    def test_no_difference_found_where_the_least_one_would_surely_be_is_not_supported(self) -> None:
        found = verdict(NEAR, LOW, least_difference=0.2)
        assert found.outcome == "not supported"
        assert known(found.power) > 0.99

    @pytest.mark.parametrize("n", [0, 1, 2, 4])
    def test_below_five_units_nothing_is_tested(self, n: int) -> None:
        found = verdict(HIGH[:n], LOW)
        assert (found.outcome, found.p, found.adjusted) == ("cannot be decided", None, None)
        assert f"n = {n}, and no test is made below n = 5" in found.reason

    def test_runs_that_lack_forbid_a_test_whatever_is_there(self) -> None:
        found = verdict(lacking=("scratch has 9 of 10 runs: 1 failed (method)",))
        assert (found.outcome, found.p, found.effect, found.power) == ("cannot be decided", None, None, None)
        assert found.reason == "scratch has 9 of 10 runs: 1 failed (method)"

    def test_values_that_do_not_vary_cannot_be_tested(self) -> None:
        found = verdict((0.6,) * 6, (0.5,) * 6)
        assert (found.outcome, found.power, found.effect) == ("cannot be decided", None, None)
        assert "do not vary" in found.reason

    def test_one_pretraining_is_about_this_checkpoint_only(self) -> None:
        runs = Units(HIGH, tuple(range(6)), "fine-tuning")
        assert evaluate_claims([ClaimData("claim", runs, units(LOW))])[0].checkpoint_only
        assert evaluate_claims([ClaimData("claim", runs, 0.5)])[0].checkpoint_only


class TestTests:
    def test_against_a_number_both_t_tests_are_those_of_one_sample(self) -> None:
        for test in ("welch", "students_t", "paired_t"):
            found = verdict(HIGH, 0.58, test=test)
            assert (found.test, found.n) == ("one-sample t", (6, None))
            assert found.p == pytest.approx(ttest_1samp(HIGH, 0.58).pvalue)
            assert found.difference == pytest.approx(np.mean(HIGH) - 0.58)

    def test_the_papers_test_pools_the_variances(self) -> None:
        assert verdict(NEAR, HIGH, test="students_t").p == pytest.approx(ttest_ind(NEAR, HIGH).pvalue)

    def test_pairs_are_made_by_equal_seeds_not_by_order(self) -> None:
        shuffled = Units(LOW[::-1], tuple(range(6))[::-1], "pretraining")
        found = evaluate_claims([ClaimData("claim", units(HIGH), shuffled, test="paired_t")])[0]
        assert found.p == pytest.approx(ttest_rel(HIGH, LOW).pvalue)
        assert found.n == (6, None)

    def test_the_effect_of_pairs_is_counted_in_standard_deviations_of_the_differences(self) -> None:
        found, gains = verdict(test="paired_t"), np.subtract(HIGH, LOW)
        plain = gains.mean() / gains.std(ddof=1)
        assert 0.8 * plain < known(found.effect) < 0.9 * plain  # Hedges' correction at 5 degrees of freedom is 0.841

    def test_sign_flips_of_six_pairs_have_their_exact_p(self) -> None:
        assert verdict(test="sign_flip").p == pytest.approx(2 / 2**6)

    def test_ranks_decide_the_direction_of_a_rank_test(self) -> None:
        better, than = (0.61, 0.62, 0.63, 0.64, 0.65, -0.01), (0.50, 0.51, 0.52, 0.53, 0.54, 0.55)
        found = verdict(better, than, test="mann_whitney", alternative="greater", alpha=0.1)
        assert known(found.difference) < 0
        assert found.outcome == "supported"

    @pytest.mark.parametrize(("test", "n", "alone"), [("sign_flip", 5, False), ("sign_flip", 6, True)])
    def test_a_test_that_cannot_reach_its_level_at_this_n_cannot_be_decided(self, test, n: int, alone: bool) -> None:
        found = verdict(HIGH[:n], LOW[:n], test=test)
        assert (found.outcome == "supported") is alone
        if not alone:
            assert "no values of 5 units can reach 0.05" in found.reason

    def test_power_is_that_of_the_stated_least_difference_else_the_observed_one(self) -> None:
        spread = np.sqrt((np.var(NEAR, ddof=1) + np.var(LOW, ddof=1)) / 2)
        ratio = float(np.var(LOW, ddof=1) / np.var(NEAR, ddof=1))
        observed = power_of((np.mean(NEAR) - np.mean(LOW)) / spread, 6, 6, ratio=ratio)
        assert verdict(NEAR, LOW).power == pytest.approx(observed)
        stated = power_of(0.03 / spread, 6, 6, ratio=ratio)
        assert verdict(NEAR, LOW, least_difference=0.03).power == pytest.approx(stated)


class TestFamilies:
    def test_claims_of_a_family_share_their_level_by_holm(self) -> None:
        middle = (0.53, 0.55, 0.51, 0.53, 0.51, 0.56)
        alone = verdict(middle, LOW)
        family = evaluate_claims([argument(middle, LOW, "a"), argument(NEAR, LOW, "b"), argument(HIGH, LOW, "c")])
        assert [found.comparisons for found in family] == [3, 3, 3]
        assert family[2].adjusted == pytest.approx(3 * known(family[2].p))
        assert family[0].adjusted == pytest.approx(2 * known(alone.p))
        assert (alone.outcome, family[0].outcome) == ("supported", "not supported")

    def test_claims_of_other_families_do_not_count(self) -> None:
        family = evaluate_claims([argument(name="a", family="x"), argument(NEAR, LOW, "b", family="y")])
        assert [(found.comparisons, found.adjusted) for found in family] == [(1, family[0].p), (1, family[1].p)]

    def test_a_claim_that_cannot_be_tested_keeps_its_place_in_the_family(self) -> None:
        lacking = argument(name="lacks", lacking=("not run",))
        assert evaluate_claims([argument(), lacking])[0].adjusted == pytest.approx(2 * known(verdict().p))

    def test_a_family_that_is_too_large_for_a_rank_test_cannot_be_decided(self) -> None:
        many = [argument(HIGH[:5], LOW[:5], str(i), test="mann_whitney") for i in range(7)]
        assert {found.outcome for found in evaluate_claims(many)} == {"cannot be decided"}  # 7 x 2 / 252 is above 0.05
        assert {found.outcome for found in evaluate_claims(many[:6])} == {"supported"}

    def test_equal_methods_are_claimed_better_in_at_most_the_familys_level(self) -> None:
        rng, wrong, runs = np.random.default_rng(0), 0, 400
        for _ in range(runs):
            sides = rng.normal(0.7, 0.02, (3, 2, 10))
            family = [argument(tuple(a), tuple(b), str(i)) for i, (a, b) in enumerate(sides)]
            wrong += any(found.outcome == "supported" for found in evaluate_claims(family))
        assert wrong / runs <= 0.05  # two-sided at 0.05, so some 0.025 goes in the claimed direction

    def test_nothing_claimed_is_nothing_judged(self) -> None:
        assert evaluate_claims([]) == []
