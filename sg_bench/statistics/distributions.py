"""Three distributions of the greatest of several t statistics that share one standard deviation.

Each is an average over S = chi_df / sqrt(df), the estimated standard deviation in units of the true one. Gauss-Legendre
quadrature with fixed nodes gives them to 1e-9 and better, many at a time and the same bytes at every run, which a
Monte Carlo integral of the multivariate t does not.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from sg_bench.statistics.samples import FloatArray

TAIL = 1e-15
"""Probability of S that is cut off on either side."""
WIDTH = 8.5
"""A standard normal beyond this has probability 2e-17."""
NODES = 96
"""Of each integral."""


def maximum_modulus_sf(t: FloatArray, count: int, df: FloatArray) -> FloatArray:
    """Return P(max |T_i| > t) of `count` independent numerators over one S: the studentised maximum modulus.

    Args:
        t: (...) values, at least 0.
        count: number of statistics.
        df: (...) degrees of freedom of S, at least 1.

    Source: Stoline and Ury, Technometrics 21 (1979).
    """
    from scipy.special import erf

    scale, weight = _scale(df)
    inside = erf(t[..., None] * scale / np.sqrt(2)) ** count
    return _probability(1 - np.sum(weight * inside, axis=-1))


def studentised_range_sf(q: FloatArray, groups: int, df: FloatArray) -> FloatArray:
    """Return P(Q > q) of the range of `groups` means over S.

    Args:
        q: (...) values, at least 0; sqrt(2) times a t statistic.
        groups: number of means.
        df: (...) degrees of freedom of S, at least 1.

    Source: Harter, Annals of Mathematical Statistics 31 (1960).
    """
    from scipy.special import ndtr

    scale, weight = _scale(df)
    z, density = _normal()
    reach = q[..., None, None] * scale[..., None]
    below = groups * np.sum(density * (ndtr(z) - ndtr(z - reach)) ** (groups - 1), axis=-1)
    return _probability(1 - np.sum(weight * below, axis=-1))


def dunnett_sf(t: float, sizes: FloatArray, control: int, df: float) -> float:
    """Return P(max |T_i| > t), where T_i compares group i with one control under a common variance.

    Args:
        t: a value of at least 0.
        sizes: (groups,) number of values in each group.
        control: number of values of the control.
        df: degrees of freedom of S.

    Source: Dunnett, Journal of the American Statistical Association 50 (1955), with the control's mean integrated out.
    """
    from scipy.special import ndtr

    scale, weight = _scale(np.asarray(df))
    z, density = _normal()
    load = np.sqrt(sizes / (sizes + control))[:, None, None]
    rest = np.sqrt(1 - load**2)
    reach = t * scale[:, None]
    inside = np.prod(ndtr((reach + load * z) / rest) - ndtr((load * z - reach) / rest), axis=0)
    return float(_probability(1 - np.sum(weight * np.sum(density * inside, axis=-1), axis=-1)))


def _scale(df: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return nodes of S and the probability that each stands for, both (..., NODES)."""
    from scipy.special import gammainccinv, gammaincinv, gammaln

    half = np.asarray(df, dtype=float)[..., None] / 2
    low, high = np.sqrt(gammaincinv(half, TAIL) / half), np.sqrt(gammainccinv(half, TAIL) / half)
    nodes, weights = _gauss(NODES)
    s = low + (high - low) * (nodes + 1) / 2
    log_density = np.log(2) + half * np.log(half) - gammaln(half) + (2 * half - 1) * np.log(s) - half * s**2
    weighted = np.exp(log_density) * weights
    return s, weighted / np.sum(weighted, axis=-1, keepdims=True)


def _normal() -> tuple[FloatArray, FloatArray]:
    """Return nodes of a standard normal and the probability that each stands for, both (NODES,)."""
    nodes, weights = _gauss(NODES)
    z = WIDTH * nodes
    return z, WIDTH * weights * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


@cache
def _gauss(count: int) -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


def _probability(value: FloatArray) -> FloatArray:
    return np.clip(value, 0.0, 1.0)
