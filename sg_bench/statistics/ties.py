"""Methods that are not separable from the best, and groups of methods that are not separable.

All pairs are compared by Dunnett's T3. It was selected by simulation (tests/statistics/test_false_winners.py):
of k equal methods, n = 10, the share of runs in which the best is marked separable from any other must not exceed 5 %.

- Dunnett's T3: 1 to 4 % for k = 3 to 20, also with unequal variances, skew and lost runs (k = 2 is Welch's test: 5 %).
- Games-Howell: 5 to 6 % from k = 12 on, 6 % if half of the methods have n = 5; else 2 to 5 %. The price of T3: its
  power for a difference of two standard deviations among nine methods is 75 % instead of 80 %.
- Hsu's comparison with the best: 13 % (k = 3) to 35 % (k = 12), and more where variances differ. It bounds how often
  one given best method is excluded, not how often any of several equal methods is.
- Holm over the k - 1 comparisons with the best: 6 to 15 %; the papers' unadjusted t-test: 12 to 67 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sg_bench.statistics.families import LabelPair, best_of, dunnett_t3
from sg_bench.statistics.two_sample import MIN_UNITS

TIE_TEST = "Dunnett's T3 over all pairs"
"""Name of the test of `separate` in captions."""


@dataclass(frozen=True)
class Separation:
    """Comparison of the methods of one column with the one of the highest mean."""

    best: str
    """The method with the highest mean, the first of several."""
    inseparable: frozenset[str]
    """All methods without a significant difference from the best, including the best."""
    tiers: tuple[tuple[str, ...], ...]
    """A partition of the methods, best first, each tier in descending order of means.

    A tier starts with the best remaining method and contains all remaining methods that are not separable from it. So
    a method differs from the first method of each tier above; two methods of one tier may still differ.
    """
    p: dict[str, float]
    """p-values of the other methods against the best, adjusted for all pairs of methods; empty without a test."""
    reason: str | None
    """Why no test was made, or None."""


def separate(groups: Mapping[str, Sequence[float]], alpha: float = 0.05) -> Separation:
    """Return which methods are not separable from the best, by Dunnett's T3 over all pairs of methods.

    Args:
        groups: (n,) independent scores of each method, higher is better.
        alpha: maximum probability that any two equal methods are marked as separable.

    Raises:
        ValueError: there is no group, or one is empty, or a score is not finite, or `alpha` is not in (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), not at {alpha}")
    best = best_of(groups)
    ranking = sorted(groups, key=lambda name: -fmean(groups[name]))
    reason = _no_test(groups)
    if reason:
        return Separation(best, frozenset(groups), (tuple(ranking),), {}, reason)
    p = dunnett_t3(groups)
    tiers = _tiers(ranking, p, alpha)
    return Separation(best, frozenset(tiers[0]), tiers, _against(best, list(groups), p), None)


def _no_test(groups: Mapping[str, Sequence[float]]) -> str | None:
    least = min(len(values) for values in groups.values())
    if least < MIN_UNITS:
        return f"n = {least} is below {MIN_UNITS}: no test was made"
    return "there is only one method: no test was made" if len(groups) == 1 else None


def _tiers(ranking: list[str], p: Mapping[LabelPair, float], alpha: float) -> tuple[tuple[str, ...], ...]:
    tiers = []
    left = ranking
    while left:
        head = left[0]
        differs = {name for name, value in _against(head, left, p).items() if value < alpha}
        tiers.append(tuple(name for name in left if name not in differs))
        left = [name for name in left if name in differs]
    return tuple(tiers)


def _against(head: str, names: Sequence[str], p: Mapping[LabelPair, float]) -> dict[str, float]:
    """Return the p-values of `head` against the others, in either order of the pair."""
    return {name: p[head, name] if (head, name) in p else p[name, head] for name in names if name != head}
