"""The unit of a claim: what counts as one independent repetition of a method on a task.

Fine-tuning runs that start from one pretraining share its luck. Pooled as if they were independent they reject equal
methods in 25 to 44 % of cases, so where there are several pretrainings, each counts once, by its mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

SeedPair = tuple[int, int]
"""(pretraining seed, fine-tuning seed)."""


@dataclass(frozen=True)
class Units:
    """One method's repetitions on one task."""

    values: tuple[float, ...]
    """In the order of their seeds."""
    seeds: tuple[int, ...]
    """The pretraining seeds, or with one pretraining the fine-tuning seeds: equal seeds pair two methods."""
    kind: Literal["pretraining", "fine-tuning"]
    """fine-tuning: there is one pretraining, so whatever is said is said about this checkpoint only."""

    @property
    def n(self) -> int:
        """Return the number of repetitions."""
        return len(self.values)


def units_of(scores: Mapping[SeedPair, float]) -> Units:
    """Return the units of `scores`: a mean for each pretraining seed, or each run where there is but one."""
    pretrainings = sorted({pretraining for pretraining, _ in scores})
    if len(pretrainings) <= 1:
        runs = sorted(scores)
        return Units(tuple(scores[run] for run in runs), tuple(fine for _, fine in runs), "fine-tuning")
    means = tuple(fmean(score for (p, _), score in sorted(scores.items()) if p == seed) for seed in pretrainings)
    return Units(means, tuple(pretrainings), "pretraining")
