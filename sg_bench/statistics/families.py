"""Several comparisons at once: p-values that hold for the whole family.

Which one fits depends on how the comparisons were chosen. Named before the data were seen: `holm`. Every method against
one control: `welch_holm`, or `dunnett` where the spreads are alike. Against the best, which the data chose:
`dunnett_t3` or `games_howell` over all pairs, because Holm over the k - 1 comparisons with the best finds a false
winner in 10 to 15 % of cases (k = 7 to 12, n = 10). `papers_test` is the papers' convention, which corrects nothing.

Groups of fewer than MIN_UNITS values are left out of the comparison and of the result. Two groups that do not vary
give p = 1 whatever their means, because there is no spread to judge the difference by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from typing import TypeVar

import numpy as np

from sg_bench.statistics.distributions import dunnett_sf, maximum_modulus_sf, studentised_range_sf
from sg_bench.statistics.power import detectable
from sg_bench.statistics.samples import FloatArray, finite, variance
from sg_bench.statistics.two_sample import MIN_UNITS, TestResult, students_t, welch

K = TypeVar("K")
ScoresByLabel = Mapping[str, Sequence[float]]
"""(n,) independent scores of each method, higher is better."""
LabelPair = tuple[str, str]
"""Two methods in the order in which they were given."""

PAPERS = "Student's t, unadjusted (the papers' convention)"
HUGE = 2.0
"""Cohen's d that Sawilowsky calls huge; a comparison that can find nothing smaller finds next to nothing.

Source: Sawilowsky, New effect size rules of thumb, Journal of Modern Applied Statistical Methods 8 (2009).
"""


def holm(p: Mapping[K, float]) -> dict[K, float]:
    """Return Holm's adjusted p-values of one family of comparisons that were named beforehand.

    Args:
        p: unadjusted p-values in [0, 1] by comparison.

    Raises:
        ValueError: a p-value lies outside [0, 1].

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    if wrong := [value for value in p.values() if not 0 <= value <= 1]:
        raise ValueError(f"p-values must lie in [0, 1], not at {wrong[0]}")
    adjusted: dict[K, float] = {}
    reached = 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        reached = max(reached, min(1.0, (len(p) - place) * p[name]))
        adjusted[name] = reached
    return {name: adjusted[name] for name in p}


def games_howell(groups: ScoresByLabel) -> dict[LabelPair, float]:
    """Return p-values of all pairs by Welch's t and the studentised range: variances and sizes may differ.

    Slightly liberal with many groups: of equal methods at n = 10 the best is separated from another in 4.8 % of cases
    at k = 3, but in 5 to 6 % at k = 12 and 20.

    Raises:
        ValueError: a score is not finite.

    Source: Games and Howell, Journal of Educational Statistics 1 (1976).
    """
    pairs, t, df, count = _welch_pairs(groups)
    return _keyed(pairs, studentised_range_sf(math.sqrt(2) * t, count, df))


def dunnett_t3(groups: ScoresByLabel) -> dict[LabelPair, float]:
    """Return p-values of all pairs by Welch's t and the studentised maximum modulus; Raises as `games_howell`.

    The strict sister of `games_howell`: critical values are 3 to 7 % higher, and of equal methods at n = 10 the best is
    separated from another in 1 to 4 % of cases.

    Source: Dunnett, Journal of the American Statistical Association 75 (1980), procedure T3.
    """
    pairs, t, df, count = _welch_pairs(groups)
    return _keyed(pairs, maximum_modulus_sf(t, max(1, math.comb(count, 2)), df))


def dunnett(groups: ScoresByLabel, control: str) -> dict[str, float]:
    """Return two-sided p-values of every other group against `control`, by Dunnett's test with one pooled variance.

    Not for groups of which the control is the noisiest, as scratch tends to be: with the spreads that were published
    for the 3D tasks it finds a difference between equal methods in 20 to 29 % of cases. `welch_holm` does not.

    Raises:
        ValueError: a score is not finite, or `control` is not among the groups.

    Source: Dunnett, Journal of the American Statistical Association 50 (1955).
    """
    _check_control(groups, control)
    kept = _large(groups)
    if control not in kept or len(kept) < 2:
        return {}
    base = kept.pop(control)
    samples = [base, *kept.values()]
    df = sum(sample.size - 1 for sample in samples)
    error = math.sqrt(sum((sample.size - 1) * variance(sample) for sample in samples) / df)
    if error == 0:
        return dict.fromkeys(kept, 1.0)
    sizes = np.array([sample.size for sample in kept.values()], dtype=float)
    differences = np.array([sample.mean() - base.mean() for sample in kept.values()])
    t = np.abs(differences) / (error * np.sqrt(1 / sizes + 1 / base.size))
    return {name: dunnett_sf(float(value), sizes, base.size, df) for name, value in zip(kept, t, strict=True)}


def welch_holm(groups: ScoresByLabel, control: str) -> dict[str, float]:
    """Return two-sided p-values of every other group against `control`: Welch's test with Holm's correction.

    Arguments and Raises as `dunnett`; the spreads may differ.
    """
    _check_control(groups, control)
    kept = _large(groups)
    if control not in kept:
        return {}
    tests = {name: welch(groups[name], groups[control]) for name in kept if name != control}
    return holm({name: test.p if test else 1.0 for name, test in tests.items()})


def papers_test(groups: ScoresByLabel) -> dict[str, TestResult]:
    """Return the papers' test of the highest mean against each other group: two-sided, equal variances, unadjusted.

    Never to be shown alone. The best is chosen by the same data and nothing is corrected, so that among equal methods
    at n = 10 it names a winner over some other in 42 % (k = 7), 53 % (k = 9) and 67 % (k = 12) of cases.

    Returns:
        Tests, positive where the best is better, by the name of the other group; the best of all groups is compared,
        so an empty answer where it has too few values. Pairs that do not vary are absent.

    Raises:
        ValueError: a score is not finite, or a group is empty.
    """
    best = best_of(groups)
    tests = {name: students_t(groups[best], values) for name, values in groups.items() if name != best}
    return {name: replace(test, name=PAPERS) for name, test in tests.items() if test}


def best_of(groups: ScoresByLabel) -> str:
    """Return the group of the highest mean; of several, the first.

    Raises:
        ValueError: there is no group, or one is empty, or a score is not finite.
    """
    if not groups or not all(len(values) for values in groups.values()):
        raise ValueError("the best is chosen among groups that have at least one score each")
    means = {name: fmean(finite(values)) for name, values in groups.items()}
    return max(means, key=lambda name: means[name])


def power_warning(n: int, comparisons: int, alpha: float = 0.05) -> str | None:
    """Return why a family can hardly find anything, as a sentence to print; None if it can.

    Args:
        n: independent repetitions of each method.
        comparisons: size of the family, corrected by Bonferroni or Holm.
        alpha: of the whole family, in (0, 1).

    Raises:
        ValueError: `comparisons` or `alpha` makes no sense.
    """
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"comparisons must be at least 1 and alpha in (0, 1), not {comparisons} and {alpha}")
    if n < MIN_UNITS:
        return f"n = {n} is below {MIN_UNITS}: no test is made"
    least = {"Wilcoxon": 2 / 2**n, "Mann-Whitney": 2 / math.comb(2 * n, n)}
    found = [
        f"the exact {name} test cannot reach {alpha:g} (least p {p:.2g}, times {comparisons} is {p * comparisons:.2g})"
        for name, p in least.items()
        if p * comparisons > alpha
    ]
    effect = detectable(n, n, comparisons, alpha)
    if effect >= HUGE:
        found.append(f"a t-test has 80 % power only from Cohen's d = {effect:.2f} on, which is a huge effect")
    said = f"n = {n} and {comparisons} comparison{'s' if comparisons > 1 else ''}: {'; '.join(found)}"
    return said if found else None


def _large(groups: ScoresByLabel) -> dict[str, FloatArray]:
    """Return the groups that are large enough to test, as arrays."""
    samples = {name: finite(values) for name, values in groups.items()}
    return {name: sample for name, sample in samples.items() if sample.size >= MIN_UNITS}


def _welch_pairs(groups: ScoresByLabel) -> tuple[list[LabelPair], FloatArray, FloatArray, int]:
    """Return the pairs, their |t| and degrees of freedom, and the number of groups that took part."""
    kept = list(_large(groups))
    pairs = list(combinations(kept, 2))
    tests = [welch(groups[a], groups[b]) for a, b in pairs]
    t = np.array([abs(test.statistic) if test else 0.0 for test in tests])
    df = np.array([test.df if test and test.df else 1.0 for test in tests])
    return pairs, t, df, len(kept)


def _keyed(pairs: list[LabelPair], p: FloatArray) -> dict[LabelPair, float]:
    return {pair: float(value) for pair, value in zip(pairs, p, strict=True)}


def _check_control(groups: ScoresByLabel, control: str) -> None:
    if control not in groups:
        raise ValueError(f"the control {control!r} is not among the groups: {', '.join(groups)}")
