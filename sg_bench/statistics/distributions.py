"""The studentised maximum modulus, the distribution of Dunnett's T3, which neither SciPy nor statsmodels has."""

from __future__ import annotations

import numpy as np

from sg_bench.statistics.samples import FloatArray

TAIL = 1e-15
"""Probability that is cut off at either end of the integral."""
NODES = 96
"""Nodes of the integral."""


def maximum_modulus_sf(t: FloatArray, count: int, df: FloatArray) -> FloatArray:
    """Return P(max |T_i| > t) of `count` t statistics with independent numerators and one standard error S.

    The average over S = chi_df / sqrt(df), the estimated standard deviation in units of the true one, of the
    probability given S; by Gauss-Legendre quadrature with fixed nodes, accurate to 1e-9.

    Args:
        t: (...) values, at least 0.
        count: number of statistics.
        df: (...) degrees of freedom of S, at least 1.

    Source: Stoline and Ury, Technometrics 21 (1979).
    """
    from scipy.special import erf

    scale, weight = _scale_nodes(df)
    inside = erf(t[..., None] * scale / np.sqrt(2)) ** count
    found: FloatArray = np.clip(1 - np.sum(weight * inside, axis=-1), 0.0, 1.0)
    return found


def _scale_nodes(df: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return nodes of S and their probabilities, both (..., NODES)."""
    from scipy.special import gammainccinv, gammaincinv, gammaln

    half = np.asarray(df, dtype=float)[..., None] / 2
    low, high = np.sqrt(gammaincinv(half, TAIL) / half), np.sqrt(gammainccinv(half, TAIL) / half)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    s = low + (high - low) * (nodes + 1) / 2
    log_density = np.log(2) + half * np.log(half) - gammaln(half) + (2 * half - 1) * np.log(s) - half * s**2
    weighted = np.exp(log_density) * weights
    return s, weighted / np.sum(weighted, axis=-1, keepdims=True)
