"""Shared ranks of methods that are not separable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sg_bench.reporting.documents import DASH
from sg_bench.reporting.separation import Ties, compared, separation, ties
from sg_bench.reporting.tables import Table

RankRange = tuple[int, int]
"""First and last rank of the methods that share it."""


@dataclass(frozen=True)
class ColumnRanking:
    """Ranks and p-values of the methods of one column."""

    ties: Ties
    ranks: Mapping[str, RankRange] = field(default_factory=dict)
    """By method; incomplete methods have none."""
    p: Mapping[str, float] = field(default_factory=dict)
    """Of each method against the best, if a test was made."""

    @property
    def untested(self) -> str:
        """Return why no test was made; empty if one was made."""
        if not self.ties.best:
            return "no method is complete"
        return self.ties.reason or ""

    def text(self, method: str) -> str:
        """Return the rank of a method as "2", or "1–3" if it is shared; "" without one."""
        return DASH.join(str(place) for place in dict.fromkeys(self.ranks.get(method, ())))


def ranking(table: Table, column: int) -> ColumnRanking:
    """Return the ranking of one column; without a test all complete methods share one rank."""
    tied = ties(table, column)
    if not tied.best:
        return ColumnRanking(tied)
    complete = {row.method for row in table.rows if row.summaries[column].complete}
    found = separation(compared(table, column))
    ranks: dict[str, RankRange] = {}
    for tier in [complete] if found.reason else found.tiers:
        sharing = sorted(complete.intersection(tier) - ranks.keys())
        ranks |= dict.fromkeys(sharing, (len(ranks) + 1, len(ranks) + len(sharing)))
    return ColumnRanking(tied, ranks, {} if found.reason else dict(found.p))
