"""Power of a t-test, its smallest detectable effect, and the number of units it needs.

Effects are Cohen's d: a difference of means over the root of the mean of both variances. Against a number, d is the
distance in standard deviations. With several comparisons each is tested at alpha / comparisons (Bonferroni), the
lowest level of Holm's correction.

Source: Cohen, Statistical Power Analysis (1988), chapter 2, with the non-central t distribution instead of its tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

PowerAlternative = Literal["two-sided", "greater"]
ALPHA, POWER = 0.05, 0.8
MAX_UNITS = 100_000
"""Most units per side that `units_needed` considers."""


def power_of(
    effect: float,
    n_a: int,
    n_b: int | None,
    *,
    comparisons: int = 1,
    alpha: float = ALPHA,
    alternative: PowerAlternative = "two-sided",
    ratio: float | None = None,
) -> float:
    """Return the probability in [0, 1] that the test rejects when the true effect is `effect`.

    Args:
        effect: Cohen's d.
        n_a: units of one side.
        n_b: units of the other; None for one sample, or the differences of pairs, against a number.
        comparisons: number of tests that share `alpha`.
        alpha: level of all comparisons together.
        alternative: "greater" is one-sided.
        ratio: variance of b over that of a, for Welch's test; None for Student's test with equal variances.

    Raises:
        ValueError: fewer than 2 units, or an invalid level or number of comparisons.
    """
    from scipy.stats import t as student

    _check(n_a, n_b, comparisons, alpha)
    freedom = _degrees_of_freedom(n_a, n_b, ratio)
    shift = effect / _standard_error(n_a, n_b, ratio)
    tails = 2 if alternative == "two-sided" else 1
    threshold = student.isf(alpha / comparisons / tails, freedom)
    other_side = _beyond(threshold, freedom, -shift) if tails == 2 else 0.0
    return _beyond(threshold, freedom, shift) + other_side


def detectable(
    n_a: int,
    n_b: int | None,
    comparisons: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
    *,
    alternative: PowerAlternative = "two-sided",
    ratio: float | None = None,
) -> float:
    """Return the smallest Cohen's d that is detected with probability `power`; arguments and Raises as `power_of`."""
    from scipy.optimize import brentq

    _check_power(power, alpha / comparisons)

    def lack(effect: float) -> float:
        found = power_of(effect, n_a, n_b, comparisons=comparisons, alpha=alpha, alternative=alternative, ratio=ratio)
        return found - power

    high = 1.0
    while lack(high) < 0:
        high *= 2
    return float(brentq(lack, 0.0, high, xtol=1e-10))


def units_needed(
    effect: float,
    comparisons: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
    *,
    sides: Literal[1, 2] = 2,
    alternative: PowerAlternative = "two-sided",
    ratio: float | None = None,
    least: int = 2,
) -> int | None:
    """Return the units per side that detect `effect` with probability `power`; None if more than MAX_UNITS.

    Args:
        effect: Cohen's d; for two-sided tests its sign does not matter.
        comparisons: as in `power_of`.
        alpha: as in `power_of`.
        power: in (alpha, 1).
        sides: 1 for pairs, or for a method against a number.
        alternative: as in `power_of`.
        ratio: as in `power_of`.
        least: minimum of the result.

    Raises:
        ValueError: as `power_of`.
    """
    _check_power(power, alpha / comparisons)

    def enough(n: int) -> bool:
        other = n if sides == 2 else None
        found = power_of(effect, n, other, comparisons=comparisons, alpha=alpha, alternative=alternative, ratio=ratio)
        return found >= power

    return _first(enough, max(2, least))


def _first(holds: Callable[[int], bool], low: int) -> int | None:
    """Return the smallest number from `low` on for which the monotone `holds` is true; None beyond MAX_UNITS."""
    high = low
    while not holds(high):
        if high > MAX_UNITS:
            return None
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _beyond(threshold: float, freedom: float, shift: float) -> float:
    """Return the probability that a non-central t exceeds `threshold`."""
    from scipy.stats import nct

    found = float(nct.sf(threshold, freedom, shift))
    # SciPy returns NaN for tails of some 1e-18 and less: then all of the probability is on the side of the shift.
    return found if math.isfinite(found) else float(shift > threshold)


def _degrees_of_freedom(n_a: int, n_b: int | None, ratio: float | None) -> float:
    if n_b is None:
        return n_a - 1
    if ratio is None:
        return n_a + n_b - 2
    a, b = 1 / n_a, ratio / n_b
    return (a + b) ** 2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))


def _standard_error(n_a: int, n_b: int | None, ratio: float | None) -> float:
    """Return the standard error of the difference in units of the root of the mean variance."""
    if n_b is None:
        return 1 / math.sqrt(n_a)
    share = 1.0 if ratio is None else ratio
    return math.sqrt(2 / (1 + share) * (1 / n_a + share / n_b))


def _check(n_a: int, n_b: int | None, comparisons: int, alpha: float) -> None:
    if min(n_a, n_a if n_b is None else n_b) < 2:
        raise ValueError(f"a t-test needs at least 2 units per side, not {n_a} and {n_b}")
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"comparisons must be at least 1 and alpha in (0, 1), not {comparisons} and {alpha}")


def _check_power(power: float, level: float) -> None:
    if not level < power < 1:
        raise ValueError(f"the power must be between the level {level:g} and 1, not {power}")
