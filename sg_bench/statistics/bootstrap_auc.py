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
    """(K + 1, units): twice the negative cases between a level and the one before, those above all levels at the end.

    A level's ties are half in its own row and half in the next.
    """
    at: csr_array
    """(K, units): positive cases at each level."""

    @classmethod
    def of(cls, scores: FloatArray, truths: FloatArray, owners: NDArray[np.integer], units: int) -> RankedScores:
        """Rank the cases of a test set.

        Args:
            scores: (N,), any finite numbers.
            truths: (N,), 0 or 1.
            owners: (N,), the number of the unit (patient or image) of each case.
            units: how many units there are.
        """
        positive = truths > 0
        levels, level = np.unique(scores[positive], return_inverse=True)
        own, others, negative = owners[positive], owners[~positive], scores[~positive]
        first = np.searchsorted(levels, negative)
        ties = np.append(levels, np.nan)[first] == negative
        rows, columns = np.concatenate([first, first + ties]), np.concatenate([others, others])
        return cls(_counts(rows, columns, (len(levels) + 1, units)), _counts(level, own, (len(levels), units)))

    @property
    def levels(self) -> int:
        """Return the number of distinct scores of positive cases."""
        return int(self.at.shape[0])

    def areas(self, drawn: NDArray[np.int32]) -> FloatArray:
        """Return (resamples,) areas, ties counting one half; NaN without a positive or without a negative case.

        Args:
            drawn: (units, resamples), contiguous: how often each unit is drawn; all sums are of whole numbers, exact.
        """
        at = self.at @ drawn
        doubled = np.cumsum(self.below @ drawn, axis=0, dtype=np.int32)
        positives, negatives = at.sum(axis=0, dtype=np.float64), doubled[-1] / 2
        if float(doubled[-1].max()) * float(at.max(initial=0)) >= 2**31:
            doubled = doubled.astype(np.int64)
        below = doubled[:-1]
        below *= at
        area: FloatArray = below.sum(axis=0, dtype=np.float64) / 2 / (positives * negatives)
        return area


def _counts(rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]) -> csr_array:
    """Return how often each (row, column) occurs."""
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape).tocsr()
