"""Which means of a column are not separable from its best: the one rule behind every mark in every table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import fmean

from sg_bench.reporting.tables import RunSummary, Table, percent
from sg_bench.statistics.ties import Separation, separate
from sg_bench.statistics.two_sample import MIN_UNITS

UnitGroups = tuple[tuple[str, tuple[float, ...]], ...]
"""Values of the units by method."""


@dataclass(frozen=True)
class Ties:
    """What may be said of the best of one column."""

    best: frozenset[str]
    """Methods printed in bold: complete, and as printed the highest mean; empty if no cell is complete."""
    inseparable: frozenset[str]
    """All other methods with a value that are not shown to be worse than the best."""
    reason: str | None
    """Why nothing could be separated at all, if so."""
    part: frozenset[str] = frozenset()
    """All methods with a value."""

    def word(self, method: str) -> str | None:
        """Return how a method stands to the best in a word, None without a value or a best."""
        if method not in self.part or not self.best:
            return None
        return "best" if method in self.best else "inseparable" if method in self.inseparable else "separable"


def ties(table: Table, column: int) -> Ties:
    """Return the ties of one column of a table, among its rows.

    An incomplete cell is never the best, however high its mean: the runs that it lacks may be those that went badly.
    """
    cells = {row.method: row.summaries[column] for row in table.rows}
    valued = {method: cell for method, cell in cells.items() if cell.n}
    top = table.best(column)
    best = frozenset(method for method, cell in valued.items() if cell.complete and percent(cell) == top)
    if not best:
        return Ties(best, frozenset(), None, frozenset(valued))
    found = separation(compared(table, column))
    tied = {method for method in valued if method not in found.p or method in found.inseparable}
    return Ties(best, frozenset(tied - best), found.reason, frozenset(valued))


def compared(table: Table, column: int) -> UnitGroups:
    """Return the units of the best of a column and of those that can be compared with it.

    Incomplete cells above the best take no part, nor do those of too few units to test, unless the best has too few
    itself: one method that failed often must not keep all others from being told apart.
    """
    valued = {row.method: row.summaries[column] for row in table.rows if row.summaries[column].n}
    complete = [cell for cell in valued.values() if cell.complete]
    if not complete:
        return ()
    best = max(complete, key=lambda cell: cell.mean or 0.0)
    kept = {method: cell for method, cell in valued.items() if cell.complete or _below(cell, best)}
    least = min(MIN_UNITS, best.units.n)
    return tuple((method, cell.units.values) for method, cell in kept.items() if cell.units.n >= least)


def _below(cell: RunSummary, best: RunSummary) -> bool:
    """Return whether a cell is below the best by the mean over units, which is another where runs are lost."""
    return fmean(cell.units.values) < fmean(best.units.values)


@cache
def separation(groups: UnitGroups) -> Separation:
    """Return the separation of `groups`; kept, because several tables ask for the same and it takes a while."""
    return separate(dict(groups))
