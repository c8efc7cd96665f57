"""Multiple comparisons: p-values that hold for a complete family of tests.

Which adjustment fits depends on how the comparisons were chosen. Named before the data were seen: `holm`. Every method
against one control: `welch_holm`, or `dunnett` if the variances are equal. Against the best, which the data chose:
`dunnett_t3` or `games_howell` over all pairs, because Holm over the k - 1 comparisons with the best finds a false
winner in 10 to 15 % of cases (k = 7 to 12, n = 10). `papers_test` is the papers' convention, without adjustment.

Groups of fewer than MIN_UNITS values are left out of the comparison and of the result. Two groups that do not vary have
p = 1 whatever their means, because there is no variance to compare the difference with.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from typing import TypeVar

import numpy as np

from sg_bench.statistics.distributions import maximum_modulus_sf
from sg_bench.statistics.power import detectable
from sg_bench.statistics.samples import FloatArray, finite, variance
from sg_bench.statistics.two_sample import MIN_UNITS, TestResult, students_t, welch, without_cancellation_warnings

Comparison = TypeVar("Comparison")
ScoresByLabel = Mapping[str, Sequence[float]]
"""(n,) independent scores of each method, higher is better."""
LabelPair = tuple[str, str]
"""Two methods in the order in which they were given."""

PAPERS = "Student's t, unadjusted (the papers' convention)"
HUGE = 2.0
"""Cohen's d that Sawilowsky calls huge; a comparison that detects only larger effects can detect next to nothing.

Source: Sawilowsky, New effect size rules of thumb, Journal of Modern Applied Statistical Methods 8 (2009).
"""


def holm(p: Mapping[Comparison, float]) -> dict[Comparison, float]:
    """Return Holm's adjusted p-values of one family of comparisons that were named beforehand (statsmodels).

    Args:
        p: unadjusted p-values in [0, 1] by comparison.

    Raises:
        ValueError: a p-value is outside [0, 1].

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    if wrong := [value for value in p.values() if not 0 <= value <= 1]:
        raise ValueError(f"p-values must lie in [0, 1], not at {wrong[0]}")
    if len(p) < 2:
        return dict(p)
    from statsmodels.stats.multitest import multipletests

    gc.freeze()  # multipletests calls gc.collect(), 0.1 s and more in a large process: leave it nothing to traverse
    try:
        adjusted = multipletests(list(p.values()), method="holm")[1]
    finally:
        gc.unfreeze()
    return dict(zip(p, map(float, adjusted), strict=True))


def games_howell(groups: ScoresByLabel, reference: str) -> dict[str, float]:
    """Return p-values of every other group against `reference`, adjusted for all pairs of groups.

    Welch's t and the studentised range (SciPy): variances and sizes may differ. These are p-values of
    `scipy.stats.tukey_hsd(..., equal_var=False)`, which computes all pairs (1.8 s for 22 groups) where one row is
    needed. Slightly liberal with many groups: of equal methods at n = 10 the best is separated from another in 4.8 % of
    cases at k = 3, but in 5 to 6 % at k = 12 and 20.

    Raises:
        ValueError: a score is not finite, or `reference` is not among the groups.

    Source: Games and Howell, Journal of Educational Statistics 1 (1976).
    """
    _check_reference(groups, reference)
    kept = _large(groups)
    if reference not in kept or len(kept) < 2:
        return {}
    from scipy.stats import studentized_range

    pairs = [(reference, name) for name in kept if name != reference]
    t, df = _welch_statistics(kept, pairs)
    p = np.clip(studentized_range.sf(math.sqrt(2) * t, len(kept), df), 0.0, 1.0)
    return {name: float(value) for (_, name), value in zip(pairs, p, strict=True)}


def dunnett_t3(groups: ScoresByLabel) -> dict[LabelPair, float]:
    """Return p-values of all pairs of groups by Welch's t and the studentised maximum modulus.

    Stricter than `games_howell`: critical values are 3 to 7 % higher, and of equal methods at n = 10 the best is
    separated from another in 1 to 4 % of cases.

    Raises:
        ValueError: a score is not finite.

    Source: Dunnett, Journal of the American Statistical Association 75 (1980), procedure T3.
    """
    kept = _large(groups)
    pairs = list(combinations(kept, 2))
    if not pairs:
        return {}
    t, df = _welch_statistics(kept, pairs)
    p = maximum_modulus_sf(t, len(pairs), df)
    return {pair: float(value) for pair, value in zip(pairs, p, strict=True)}


def dunnett(groups: ScoresByLabel, control: str) -> dict[str, float]:
    """Return two-sided p-values of every other group against `control` by Dunnett's test (SciPy).

    It pools the variances of all groups, so it does not fit where the control has the largest, as scratch tends to:
    with the standard deviations published for the 3D tasks it finds a difference between equal methods in 20 to 29 % of
    cases. `welch_holm` does not.

    SciPy integrates by randomised quasi-Monte Carlo. With the fixed seed the result is reproducible; it is accurate to
    2e-4 (largest error seen, 3 to 22 groups). It takes 0.05 s for 5 groups, 0.3 s for 11 and 1.1 s for 22.

    Raises:
        ValueError: a score is not finite, or `control` is not among the groups.

    Source: Dunnett, Journal of the American Statistical Association 50 (1955).
    """
    _check_reference(groups, control)
    kept = _large(groups)
    if control not in kept or len(kept) < 2:
        return {}
    base = kept.pop(control)
    if not any(variance(sample) for sample in (base, *kept.values())):
        return dict.fromkeys(kept, 1.0)
    from scipy import stats

    p = stats.dunnett(*kept.values(), control=base, rng=np.random.default_rng(0)).pvalue
    return {name: float(value) for name, value in zip(kept, np.clip(p, 0.0, 1.0), strict=True)}


def welch_holm(groups: ScoresByLabel, control: str) -> dict[str, float]:
    """Return two-sided p-values of every other group against `control` by Welch's test with Holm's correction.

    The variances may differ. Arguments and Raises as `dunnett`.
    """
    _check_reference(groups, control)
    kept = _large(groups)
    if control not in kept:
        return {}
    tests = {name: welch(groups[name], groups[control]) for name in kept if name != control}
    return holm({name: test.p if test else 1.0 for name, test in tests.items()})


def papers_test(groups: ScoresByLabel) -> dict[str, TestResult]:
    """Return the papers' test of the highest mean against each other group: two-sided, equal variances, unadjusted.

    Do not report it alone: the best is chosen from the same data and nothing is adjusted, so among equal methods at
    n = 10 some difference is significant in 42 % (k = 7), 53 % (k = 9) and 67 % (k = 12) of cases.

    Returns:
        Tests by the name of the other group, positive where the best is better; empty if the best group has too few
        values. Pairs that do not vary are absent.

    Raises:
        ValueError: a score is not finite, or a group is empty.
    """
    best = best_of(groups)
    tests = {name: students_t(groups[best], values) for name, values in groups.items() if name != best}
    return {name: replace(test, name=PAPERS) for name, test in tests.items() if test}


def best_of(groups: ScoresByLabel) -> str:
    """Return the group with the highest mean, the first of several.

    Raises:
        ValueError: there is no group, or one is empty, or a score is not finite.
    """
    if not groups or not all(len(values) for values in groups.values()):
        raise ValueError("the best is chosen among groups that have at least one score each")
    means = {name: fmean(finite(values)) for name, values in groups.items()}
    return max(means, key=lambda name: means[name])


def power_warning(n: int, comparisons: int, alpha: float = 0.05) -> str | None:
    """Return a message that a family of comparisons has next to no power, and why; None if it has.

    Args:
        n: independent repetitions of each method.
        comparisons: size of the family, corrected by Bonferroni or Holm.
        alpha: level of the family, in (0, 1).

    Raises:
        ValueError: `comparisons` or `alpha` makes no sense.
    """
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"comparisons must be at least 1 and alpha in (0, 1), not {comparisons} and {alpha}")
    if n < MIN_UNITS:
        return f"n = {n} is below {MIN_UNITS}: no test is made"
    least = {"sign-flip": 2 / 2**n, "Mann-Whitney": 2 / math.comb(2 * n, n)}
    found = [
        f"the exact {name} test cannot reach {alpha:g} (least p {p:.2g}, times {comparisons} is {p * comparisons:.2g})"
        for name, p in least.items()
        if p * comparisons > alpha
    ]
    effect = detectable(n, n, comparisons, alpha)
    if effect >= HUGE:
        found.append(f"a t-test has 80 % power only from Cohen's d = {effect:.2f} on, which is a huge effect")
    return (
        f"n = {n} and {comparisons} comparison{'s' if comparisons > 1 else ''}: {'; '.join(found)}" if found else None
    )


def _large(groups: ScoresByLabel) -> dict[str, FloatArray]:
    """Return the groups that are large enough to test, as arrays."""
    samples = {name: finite(values) for name, values in groups.items()}
    return {name: sample for name, sample in samples.items() if sample.size >= MIN_UNITS}


def _welch_statistics(samples: Mapping[str, FloatArray], pairs: Sequence[LabelPair]) -> tuple[FloatArray, FloatArray]:
    """Return Welch's |t| and degrees of freedom of some pairs; 0 and 1 where neither sample varies."""
    from scipy.stats import ttest_ind

    longest = max(sample.size for sample in samples.values())
    rows = {
        name: np.pad(sample, (0, longest - sample.size), constant_values=np.nan) for name, sample in samples.items()
    }
    a, b = (np.stack([rows[pair[side]] for pair in pairs]) for side in (0, 1))
    constant = {name for name, sample in samples.items() if variance(sample) == 0}
    varies = np.array([not constant.issuperset(pair) for pair in pairs])
    with without_cancellation_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        found = ttest_ind(a, b, axis=1, equal_var=False, nan_policy="omit")
    return np.where(varies, np.abs(found.statistic), 0.0), np.where(varies, found.df, 1.0)


def _check_reference(groups: ScoresByLabel, reference: str) -> None:
    if reference not in groups:
        raise ValueError(f"the control {reference!r} is not among the groups: {', '.join(groups)}")
