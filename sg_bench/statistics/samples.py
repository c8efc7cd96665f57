"""Scores as arrays: checked once, and with a variance that rounding cannot make up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ROUNDING = 1e-12
"""Scores are fractions in [0, 1]; what is smaller than this comes from adding them in another order."""


def finite(values: Sequence[float]) -> FloatArray:
    """Return `values` as an array (n,).

    Raises:
        ValueError: one of them is not a number, or infinite.
    """
    array = np.asarray(values, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError(f"scores must be finite numbers, not {array[~np.isfinite(array)][0]}")
    return array


def variance(values: FloatArray) -> float:
    """Return the sample variance (ddof 1) of (n,) values, n >= 2: exactly 0 where they differ by rounding alone."""
    return 0.0 if np.ptp(values) < ROUNDING else float(np.var(values, ddof=1))
