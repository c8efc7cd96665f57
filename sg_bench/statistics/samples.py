"""Checked arrays of scores, and a variance without rounding artefacts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ROUNDING = 1e-12
"""Scores are fractions in [0, 1]; smaller differences come from the order of summation."""


def finite(values: Sequence[float]) -> FloatArray:
    """Return `values` as an array (n,).

    Raises:
        ValueError: a value is not finite.
    """
    array = np.asarray(values, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError(f"scores must be finite numbers, not {array[~np.isfinite(array)][0]}")
    return array


def variance(values: FloatArray) -> float:
    """Return the sample variance (ddof 1) of (n,) values, n >= 2: exactly 0 if they differ only by rounding."""
    return 0.0 if np.ptp(values) < ROUNDING else float(np.var(values, ddof=1))
