"""Units of analysis: the independent repetitions of a method on a task.

Fine-tuning runs that start from one pretraining are correlated. If they are pooled as independent, equal methods are
found to differ in 25 to 44 % of cases, so with several pretrainings each counts once, by its mean.
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
    """fine-tuning: there is only one pretraining, so results hold for this checkpoint only."""

    @property
    def n(self) -> int:
        """Return the number of repetitions."""
        return len(self.values)


def units_of(scores: Mapping[SeedPair, float]) -> Units:
    """Return the units of `scores`: the mean of each pretraining seed, or the runs if there is only one."""
    pretrainings = sorted({pretraining for pretraining, _ in scores})
    if len(pretrainings) <= 1:
        runs = sorted(scores)
        return Units(tuple(scores[run] for run in runs), tuple(fine for _, fine in runs), "fine-tuning")
    means = tuple(fmean(score for (p, _), score in sorted(scores.items()) if p == seed) for seed in pretrainings)
    return Units(means, tuple(pretrainings), "pretraining")
