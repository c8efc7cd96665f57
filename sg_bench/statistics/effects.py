"""Effect sizes; all are positive (or above one half) where a is better than b."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sg_bench.statistics.samples import finite, variance


def hedges_g(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Hedges' g: the difference of means, a - b, in pooled standard deviations, corrected for small samples.

    Args:
        a: (n,) scores of one method, higher is better.
        b: (m,) scores of another.

    Returns:
        Positive where a is better; None for fewer than two values per side, and if neither side varies.

    Raises:
        ValueError: a score is not finite.

    Source: Hedges, Journal of Educational Statistics 6 (1981), with its exact correction (gamma functions).
    """
    x, y = finite(a), finite(b)
    if min(x.size, y.size) < 2:
        return None
    df = x.size + y.size - 2
    pooled = ((x.size - 1) * variance(x) + (y.size - 1) * variance(y)) / df
    if pooled == 0:
        return None
    log_correction = math.lgamma(df / 2) - math.log(df / 2) / 2 - math.lgamma((df - 1) / 2)
    return math.exp(log_correction) * float(x.mean() - y.mean()) / math.sqrt(pooled)


def cliffs_delta(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return P(a > b) - P(a < b) over all pairs of scores, in [-1, 1].

    Positive where a is better; None without a score on either side. Arguments and Raises as `hedges_g`.

    Source: Cliff, Psychological Bulletin 114 (1993).
    """
    x, y = finite(a), finite(b)
    if not x.size or not y.size:
        return None
    return float(np.mean(np.sign(x[:, None] - y)))


def probability_of_improvement(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return P(a > b) + P(a = b) / 2 over all pairs of scores, in [0, 1].

    Above one half where a is better; None without a score on either side. Arguments and Raises as `hedges_g`.

    Source: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (2021).
    """
    delta = cliffs_delta(a, b)
    return None if delta is None else (1 + delta) / 2
