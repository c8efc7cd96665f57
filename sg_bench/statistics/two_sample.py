"""Tests of two methods on one task, on independent or on paired units.

None makes a statement below MIN_UNITS units a side. A t-test needs a spread to judge a difference by: where nothing
varies (each method the same score in every run, or each pair the same difference) the t-tests return None, however
large the difference. The tests by permutation need no spread; two samples of one and the same value give them p = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.statistics.samples import ROUNDING, FloatArray, finite, variance

MIN_UNITS = 5
"""Fewest independent repetitions of a method that a p-value may stand on."""
MOST_ENUMERATED = 20
"""Most pairs of which `sign_flip` goes through all 2 ** n signs."""
MOST_RANKED = 100
"""Most values of both samples together of which `mann_whitney` counts all divisions."""
DRAWS = 20_000
"""Signs that `sign_flip` draws where they are too many to go through."""

Alternative = Literal["two-sided", "greater", "less"]
"""greater: a above b."""


@dataclass(frozen=True)
class TestResult:
    """What a test of a against b found."""

    __test__: ClassVar[bool] = False  # pytest takes every class of this name for a collection of tests

    name: str
    statistic: float
    """Positive (for rank sums: large) where a is above b."""
    p: float
    df: float | None
    """Degrees of freedom; None where the test has none."""
    alternative: Alternative
    n: int
    """Values of the smaller sample, or number of pairs."""


def students_t(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return Student's test of two independent samples of equal variance (pooled): the papers' test.

    Args:
        a: (n,) scores of one method.
        b: (m,) scores of another.
        alternative: "greater" claims a > b.

    Raises:
        ValueError: a score is not finite.
    """
    x, y = finite(a), finite(b)
    if min(x.size, y.size) < MIN_UNITS:
        return None
    df = x.size + y.size - 2
    pooled = ((x.size - 1) * variance(x) + (y.size - 1) * variance(y)) / df
    error = math.sqrt(pooled * (1 / x.size + 1 / y.size))
    return _t_test("Student's t", float(x.mean() - y.mean()), error, df, alternative, min(x.size, y.size))


def welch(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return Welch's test of two independent samples, whose variances may differ; arguments as `students_t`.

    Source: Welch, Biometrika 34 (1947); degrees of freedom by Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    x, y = finite(a), finite(b)
    if min(x.size, y.size) < MIN_UNITS:
        return None
    first, second = variance(x) / x.size, variance(y) / y.size
    if first + second == 0:
        return None
    df = (first + second) ** 2 / (first**2 / (x.size - 1) + second**2 / (y.size - 1))
    difference = float(x.mean() - y.mean())
    return _t_test("Welch's t", difference, math.sqrt(first + second), df, alternative, min(x.size, y.size))


def mann_whitney(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return the Mann-Whitney test; its statistic is U, the number of pairs in which a is above b (ties half).

    Exact, ties included, up to MOST_RANKED values: all divisions of the values into two such samples are counted.
    Above that by the normal approximation. Arguments as `students_t`.

    Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947).
    """
    x, y = finite(a), finite(b)
    if min(x.size, y.size) < MIN_UNITS:
        return None
    wins = float(np.sum(x[:, None] > y) + np.sum(x[:, None] == y) / 2)
    n = min(x.size, y.size)
    if x.size + y.size > MOST_RANKED:
        from scipy.stats import mannwhitneyu

        p = float(mannwhitneyu(x, y, alternative=alternative, method="asymptotic").pvalue)
        return TestResult("Mann-Whitney (normal approximation)", wins, p, None, alternative, n)
    ranks = _doubled_ranks(np.concatenate([x, y]))
    chances = _rank_sum_chances(ranks, x.size)
    p = _tail(chances, int(ranks[: x.size].sum()), alternative)
    return TestResult("Mann-Whitney (exact)", wins, p, None, alternative, n)


def paired_t(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return Student's test of paired differences: only for units that share what a pair should share.

    Args:
        a: (n,) scores of one method.
        b: (n,) scores of another, a[i] and b[i] on the same subset of labels or the same split.
        alternative: "greater" claims a > b.

    Raises:
        ValueError: the lengths differ, or a score is not finite.
    """
    gains = _differences(a, b)
    if gains.size < MIN_UNITS:
        return None
    error = math.sqrt(variance(gains) / gains.size)
    return _t_test("paired t", float(gains.mean()), error, gains.size - 1, alternative, gains.size)


def wilcoxon(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return Wilcoxon's signed-rank test, exact at every n, ties included; the statistic is the positive rank sum.

    Pairs without a difference say nothing and are left out (Wilcoxon's own rule). Arguments and Raises as `paired_t`.

    Source: Wilcoxon, Biometrics Bulletin 1 (1945).
    """
    gains = _differences(a, b)
    if gains.size < MIN_UNITS:
        return None
    moved = gains[gains != 0]
    ranks = _doubled_ranks(np.abs(moved))
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0] = 1.0
    for rank in ranks:  # each rank is positive or negative with equal probability
        chances[rank:] = (chances[rank:] + chances[: chances.size - rank]) / 2
        chances[:rank] /= 2
    positive = int(ranks[moved > 0].sum())
    return TestResult(
        "Wilcoxon (exact)", positive / 2, _tail(chances, positive, alternative), None, alternative, gains.size
    )


def sign_flip(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return the permutation test of the mean difference of pairs, under every choice of their signs.

    Exact up to MOST_ENUMERATED pairs; above that over DRAWS choices from a fixed seed, the observed one among them.
    Arguments and Raises as `paired_t`.

    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    gains = _differences(a, b)
    n = gains.size
    if n < MIN_UNITS:
        return None
    exact = n <= MOST_ENUMERATED
    sums = _all_signed_sums(gains) if exact else _drawn_signed_sums(gains)
    observed = gains.sum()
    slack = n * ROUNDING
    reached = {
        "two-sided": np.abs(sums) >= abs(observed) - slack,
        "greater": sums >= observed - slack,
        "less": sums <= observed + slack,
    }[alternative]
    name = "sign flip (exact)" if exact else f"sign flip ({DRAWS} draws)"
    return TestResult(name, float(gains.mean()), float(reached.mean()), None, alternative, n)


def _t_test(
    name: str, difference: float, error: float, df: float, alternative: Alternative, n: int
) -> TestResult | None:
    from scipy.special import stdtr

    if error == 0:
        return None
    t = difference / error
    tails = {"two-sided": 2 * stdtr(df, -abs(t)), "greater": stdtr(df, -t), "less": stdtr(df, t)}
    return TestResult(name, t, float(tails[alternative]), float(df), alternative, n)


def _differences(a: Sequence[float], b: Sequence[float]) -> FloatArray:
    """Return a - b, rounded so that equal differences are equal."""
    if len(a) != len(b):
        raise ValueError(f"paired samples must have one length, not {len(a)} and {len(b)}")
    return np.round(finite(a) - finite(b), round(-math.log10(ROUNDING)))


def _doubled_ranks(values: FloatArray) -> NDArray[np.int64]:
    """Return twice the mid-rank of each value: whole numbers, so that ties can be counted exactly."""
    below = np.sum(values < values[:, None], axis=1)
    up_to = np.sum(values <= values[:, None], axis=1)
    return np.asarray(below + up_to + 1, dtype=np.int64)


def _rank_sum_chances(ranks: NDArray[np.int64], size: int) -> FloatArray:
    """Return the probability of each sum of `size` of the ranks, all choices being equally likely."""
    ways = np.zeros((size + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    chances: FloatArray = ways[size] / math.comb(ranks.size, size)
    return chances


def _tail(chances: FloatArray, observed: int, alternative: Alternative) -> float:
    """Return the p-value of `observed`; two-sided is twice the smaller side."""
    less, greater = float(chances[: observed + 1].sum()), float(chances[observed:].sum())
    p = {"two-sided": 2 * min(less, greater), "greater": greater, "less": less}[alternative]
    return min(1.0, p)


def _all_signed_sums(gains: FloatArray) -> FloatArray:
    """Return the 2 ** n sums of `gains` under every choice of signs."""
    sums = np.zeros(1)
    for gain in gains:
        sums = np.concatenate([sums + gain, sums - gain])
    return sums


def _drawn_signed_sums(gains: FloatArray) -> FloatArray:
    signs = np.random.default_rng(0).integers(0, 2, (DRAWS - 1, gains.size), dtype=np.int8) * 2 - 1
    return np.append(signs @ gains, gains.sum())
