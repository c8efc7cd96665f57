"""The area under the ROC curve of one run over many bootstrapped test sets, from ranks that are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sg_bench.statistics.samples import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class RankedScores:
    """The scores of one output, ranked: each distinct score of a positive case is a level, K in all."""

    below: csr_array
    """(K, units): twice the negative cases between a level and the one before; the level's ties are half in each."""
    at: csr_array
    """(K, units): positive cases at each level."""
    positives: FloatArray
    """(units,): positive cases of each unit."""
    negatives: FloatArray
    """(units,): negative cases of each unit."""

    @classmethod
    def of(cls, scores: FloatArray, truths: FloatArray, owners: NDArray[np.integer], units: int) -> RankedScores:
        """Rank the cases of a test set.

        Args:
            scores: (N,), any finite numbers.
            truths: (N,), 0 or 1.
            owners: (N,), the number of the unit (patient or image) of each case.
            units: how many units there are.
        """
        from scipy.sparse import coo_array

        positive = truths > 0
        levels, level = np.unique(scores[positive], return_inverse=True)
        own, others, negative = owners[positive], owners[~positive], scores[~positive]
        first = np.searchsorted(levels, negative)
        ties = np.isin(negative, levels)
        rows, columns = np.concatenate([first, first + ties]), np.concatenate([others, others])
        kept = rows < len(levels)
        shape = (len(levels), units)
        return cls(
            coo_array((np.ones(kept.sum()), (rows[kept], columns[kept])), shape=shape).tocsr(),
            coo_array((np.ones(len(level)), (level, own)), shape=shape).tocsr(),
            np.bincount(own, minlength=units).astype(np.float64),
            np.bincount(others, minlength=units).astype(np.float64),
        )

    @property
    def levels(self) -> int:
        """Return the number of distinct scores of positive cases."""
        return int(self.at.shape[0])

    def areas(self, weights: FloatArray) -> FloatArray:
        """Return (resamples,) areas, ties counting one half; NaN without a positive or without a negative case.

        Args:
            weights: (resamples, units): how often each unit is drawn; all sums are exact, being of whole numbers.
        """
        drawn = np.ascontiguousarray(weights.T)
        doubled = np.cumsum(self.below @ drawn, axis=0)
        doubled *= self.at @ drawn
        area: FloatArray = doubled.sum(axis=0) / 2 / ((weights @ self.positives) * (weights @ self.negatives))
        return area
