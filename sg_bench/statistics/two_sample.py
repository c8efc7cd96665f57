"""Tests of two methods on one task, with independent or paired units.

A test is made only with at least MIN_UNITS units per side. The t-tests return None where nothing varies (each method
has the same score in every run, or each pair the same difference), because there is no variance to compare with.
The permutation tests need no variance; if all values are equal they return p = 1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from sg_bench.statistics.samples import ROUNDING, FloatArray, finite, variance

MIN_UNITS = 5
"""Fewest independent repetitions of a method for which a p-value is computed."""
MAX_ENUMERATED = 20
"""Most pairs for which `sign_flip` enumerates all 2 ** n signs."""
MAX_EXACT = 100
"""Most values of both samples together for which `mann_whitney` is exact."""
DRAWS = 20_000
"""Random permutations (or signs) where there are more than can be enumerated."""

Alternative = Literal["two-sided", "greater", "less"]
"""greater: a is above b."""


@dataclass(frozen=True)
class TestResult:
    """Result of a test of a against b."""

    __test__: ClassVar[bool] = False  # pytest would collect a class of this name

    name: str
    statistic: float
    """Positive (rank sums: large) where a is above b."""
    p: float
    df: float | None
    """Degrees of freedom; None where the test has none."""
    alternative: Alternative
    n: int
    """Values of the smaller sample, or number of pairs."""


def students_t(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return Student's t-test of two independent samples with equal variances, the papers' test (SciPy's `ttest_ind`).

    Args:
        a: (n,) scores of one method.
        b: (m,) scores of another.
        alternative: "greater" claims a > b.

    Returns:
        None below MIN_UNITS values per side, and where neither sample varies.

    Raises:
        ValueError: a score is not finite.
    """
    return _independent_t("Student's t", a, b, alternative, equal_var=True)


def welch(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return Welch's t-test of two independent samples (SciPy's `ttest_ind`); arguments as `students_t`.

    Source: Welch, Biometrika 34 (1947); degrees of freedom by Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    return _independent_t("Welch's t", a, b, alternative, equal_var=False)


def mann_whitney(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return the Mann-Whitney test (SciPy's `mannwhitneyu`).

    Its statistic is U, the number of pairs in which a is above b (ties count one half). Up to MAX_EXACT values the
    distribution of U is exact; if values are tied it comes from all permutations, or where there are more from DRAWS
    random ones with a fixed seed. Above MAX_EXACT values it is approximated by a normal distribution. Arguments as
    `students_t`.

    Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947).
    """
    x, y = finite(a), finite(b)
    n, total = min(x.size, y.size), x.size + y.size
    if n < MIN_UNITS:
        return None
    from scipy.stats import PermutationMethod, mannwhitneyu

    method: Any
    if total > MAX_EXACT:
        name, method = "normal approximation", "asymptotic"
    elif np.unique(np.concatenate([x, y])).size == total:
        name, method = "exact", "exact"
    else:
        name = "exact" if math.comb(total, n) <= DRAWS else f"{DRAWS} permutations"
        method = PermutationMethod(n_resamples=DRAWS, rng=np.random.default_rng(0))
    found = mannwhitneyu(x, y, alternative=alternative, method=method)
    p = 1.0 if np.ptp([*x, *y]) == 0 else float(found.pvalue)
    return TestResult(f"Mann-Whitney ({name})", float(found.statistic), p, None, alternative, n)


def paired_t(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return Student's t-test of paired differences (SciPy's `ttest_1samp`).

    Args:
        a: (n,) scores of one method.
        b: (n,) scores of another, a[i] and b[i] on the same subset of labels or the same split.
        alternative: "greater" claims a > b.

    Returns:
        None below MIN_UNITS pairs, and where all differences are equal.

    Raises:
        ValueError: the lengths differ, or a score is not finite.
    """
    gains = _differences(a, b)
    if gains.size < MIN_UNITS or variance(gains) == 0:
        return None
    from scipy.stats import ttest_1samp

    with without_cancellation_warnings():
        found = ttest_1samp(gains, 0.0, alternative=alternative)
    statistic, p, df = float(found.statistic), float(found.pvalue), float(found.df)
    return TestResult("paired t", statistic, p, df, alternative, gains.size)


def sign_flip(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> TestResult | None:
    """Return the permutation test of the mean paired difference under all choices of signs.

    Exact up to MAX_ENUMERATED pairs; above that with DRAWS random choices from a fixed seed, the observed one among
    them. Arguments and Raises as `paired_t`; None only below MIN_UNITS pairs.

    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    gains = _differences(a, b)
    n = gains.size
    if n < MIN_UNITS:
        return None
    exact = n <= MAX_ENUMERATED
    sums = _all_signed_sums(gains) if exact else _random_signed_sums(gains)
    observed = gains.sum()
    tolerance = n * ROUNDING
    reached = {
        "two-sided": np.abs(sums) >= abs(observed) - tolerance,
        "greater": sums >= observed - tolerance,
        "less": sums <= observed + tolerance,
    }[alternative]
    name = "sign flip (exact)" if exact else f"sign flip ({DRAWS} draws)"
    return TestResult(name, float(gains.mean()), float(reached.mean()), None, alternative, n)


@contextmanager
def without_cancellation_warnings() -> Iterator[None]:
    """Ignore SciPy's RuntimeWarning about samples that hardly vary; the callers handle these explicitly."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Precision loss occurred", category=RuntimeWarning)
        yield


def _independent_t(
    name: str, a: Sequence[float], b: Sequence[float], alternative: Alternative, *, equal_var: bool
) -> TestResult | None:
    x, y = finite(a), finite(b)
    n = min(x.size, y.size)
    if n < MIN_UNITS or (variance(x) == 0 and variance(y) == 0):
        return None
    from scipy.stats import ttest_ind  # takes a second, which few runs need not spend

    with without_cancellation_warnings():
        found = ttest_ind(x, y, equal_var=equal_var, alternative=alternative)
    return TestResult(name, float(found.statistic), float(found.pvalue), float(found.df), alternative, n)


def _differences(a: Sequence[float], b: Sequence[float]) -> FloatArray:
    """Return a - b, rounded so that equal differences are equal."""
    if len(a) != len(b):
        raise ValueError(f"paired samples must have one length, not {len(a)} and {len(b)}")
    return np.round(finite(a) - finite(b), round(-math.log10(ROUNDING)))


def _all_signed_sums(gains: FloatArray) -> FloatArray:
    """Return the 2 ** n sums of `gains` over all choices of signs."""
    sums = np.zeros(1)
    for gain in gains:
        sums = np.concatenate([sums + gain, sums - gain])
    return sums


def _random_signed_sums(gains: FloatArray) -> FloatArray:
    signs = np.random.default_rng(0).integers(0, 2, (DRAWS - 1, gains.size), dtype=np.int8) * 2 - 1
    return np.append(signs @ gains, gains.sum())
