"""The rank that methods share which cannot be told from one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sg_bench.reporting.separation import Ties, compared, separation, ties
from sg_bench.reporting.tables import Table

Rank = tuple[int, int]
"""First and last place of the methods that share it."""


@dataclass(frozen=True)
class Ranking:
    """How the methods of one column stand to one another."""

    ties: Ties
    ranks: Mapping[str, Rank] = field(default_factory=dict)
    """By method; one that lacks runs has none."""
    p: Mapping[str, float] = field(default_factory=dict)
    """Of each method against the best, where there was a test."""

    @property
    def untested(self) -> str:
        """Return why nothing was tested; empty where a test was made."""
        if not self.ties.best:
            return "no method is complete"
        return self.ties.reason or ""


def ranking(table: Table, column: int) -> Ranking:
    """Return the ranking of one column; where nothing was tested, all complete methods share one rank."""
    tied = ties(table, column)
    if not tied.best:
        return Ranking(tied)
    complete = {row.method for row in table.rows if row.summaries[column].complete}
    found = separation(compared(table, column))
    ranks: dict[str, Rank] = {}
    for tier in [complete] if found.reason else found.tiers:
        sharing = sorted(complete.intersection(tier) - ranks.keys())
        ranks |= dict.fromkeys(sharing, (len(ranks) + 1, len(ranks) + len(sharing)))
    return Ranking(tied, ranks, {} if found.reason else dict(found.p))
