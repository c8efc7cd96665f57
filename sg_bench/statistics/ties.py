"""Which methods cannot be told from the best, and from one another.

All pairs are compared at once by Dunnett's T3. It was chosen by simulation (tests/statistics/test_false_winners.py):
of k equal methods, n = 10, the share of runs in which the best is marked separable from any other must not exceed 5 %.

- Dunnett's T3: 1 to 4 % for k = 3 to 20, with unequal variances, skew and lost runs too (k = 2 is Welch's test: 5 %).
- Games-Howell: 5 to 6 % from k = 12 on, 6 % where half the methods have n = 5; else 2 to 5 %. What T3 pays for keeping
  the level: it finds a difference of two standard deviations among nine methods in 75 % of cases instead of 80 %.
- Hsu's comparison with the best: 13 % (k = 3) to 35 % (k = 12), and more where variances differ. It bounds how often
  one given best method is excluded, not how often any of several equal ones is.
- Holm over the k - 1 comparisons with the best: 6 to 15 %; the papers' convention, which corrects nothing: 12 to 67 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sg_bench.statistics.families import LabelPair, best_of, dunnett_t3
from sg_bench.statistics.two_sample import MIN_UNITS

TIE_TEST = "Dunnett's T3 over all pairs"
"""What a caption calls the test behind `separate`."""


@dataclass(frozen=True)
class Separation:
    """How the methods of one column stand to the one of the highest mean."""

    best: str
    """The highest mean; of several, the first."""
    inseparable: frozenset[str]
    """All that are not shown to differ from the best, the best among them."""
    tiers: tuple[tuple[str, ...], ...]
    """A partition of the methods, best first, each tier in descending order of means.

    A tier opens with the best method not yet placed and takes every other one not yet placed that is not separable
    from that one. So a method differs from the head of each tier above its own; two methods of one tier may yet differ
    from each other.
    """
    p: dict[str, float]
    """p-value of each other method against the best, valid for all pairs of methods together; empty without a test."""
    reason: str | None
    """Why no test was made, or None."""


def separate(groups: Mapping[str, Sequence[float]], alpha: float = 0.05) -> Separation:
    """Return which methods are not separable from the best, by Dunnett's T3 over all pairs of methods.

    Args:
        groups: (n,) independent scores of each method, higher is better.
        alpha: the probability, at most, that any two equal methods are marked as separable.

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
    return "one method alone has nothing to be told from: no test was made" if len(groups) == 1 else None


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
    """Return the p-values of `head` against the others, whichever way round their pair is named."""
    return {name: p[head, name] if (head, name) in p else p[name, head] for name in names if name != head}
