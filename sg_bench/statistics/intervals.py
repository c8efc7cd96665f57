"""How well a mean is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sg_bench.statistics.samples import finite, variance


@dataclass(frozen=True)
class ConfidenceInterval:
    """A confidence interval in the unit of the scores."""

    low: float
    high: float
    confidence: float
    """Share of such intervals that hold the true mean, in (0, 1)."""


def t_interval(values: Sequence[float], confidence: float = 0.95) -> ConfidenceInterval | None:
    """Return the t-interval of the mean, or None for fewer than two values.

    Not clipped to [0, 1], so that it stays symmetric; of zero width where the values do not vary. At n = 10 it holds
    the mean of normal scores in 95 % of cases, of exponential ones in 90 % and of lognormal ones in 84 %; a percentile
    bootstrap in 90, 86 and 79 %.

    Args:
        values: (n,) independent scores.
        confidence: in (0, 1).

    Raises:
        ValueError: a score is not finite, or `confidence` is not in (0, 1).

    Source: Student, The probable error of a mean, Biometrika 6 (1908).
    """
    from scipy.special import stdtrit

    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must lie in (0, 1), not at {confidence}")
    sample = finite(values)
    n = sample.size
    if n < 2:
        return None
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * math.sqrt(variance(sample) / n)
    mean = float(sample.mean())
    return ConfidenceInterval(mean - half, mean + half, confidence)
