"""Which means of a column do not differ significantly from its best: the rule behind the marks of all tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import fmean

from sg_bench.evaluation.metrics import higher_is_better
from sg_bench.reporting.tables import ScoreSummary, Table, printed_mean
from sg_bench.statistics.ties import Separation, separate
from sg_bench.statistics.two_sample import MIN_UNITS

UnitGroups = tuple[tuple[str, tuple[float, ...]], ...]
"""Values of the units by method."""


@dataclass(frozen=True)
class Ties:
    """The best methods of one column, and those that do not differ significantly from them."""

    best: frozenset[str]
    """Methods in bold: complete, with the highest mean as printed; empty if no cell is complete."""
    inseparable: frozenset[str]
    """All other methods with a value that are not significantly worse than the best."""
    reason: str | None
    """Reason for which nothing was tested, or None."""
    part: frozenset[str] = frozenset()
    """All methods with a value."""

    def word(self, method: str) -> str | None:
        """Return best, inseparable (from the best) or separable; None without a value or a best."""
        if method not in self.part or not self.best:
            return None
        return "best" if method in self.best else "inseparable" if method in self.inseparable else "separable"


def ties(table: Table, column: int) -> Ties:
    """Return the ties of one column of a table.

    An incomplete cell is never the best, since the runs that it lacks may be the worst ones.
    """
    cells = {row.method: row.summaries[column] for row in table.rows}
    valued = {method: cell for method, cell in cells.items() if cell.n}
    top = table.best(column)
    best = frozenset(method for method, cell in valued.items() if cell.complete and printed_mean(cell) == top)
    if not best:
        return Ties(best, frozenset(), None, frozenset(valued))
    found = separation(compared(table, column))
    tied = {method for method in valued if method not in found.p or method in found.inseparable}
    return Ties(best, frozenset(tied - best), found.reason, frozenset(valued))


def compared(table: Table, column: int) -> UnitGroups:
    """Return the units of the best method of a column and of all methods that are tested against it, as gains.

    Incomplete cells above the best are left out, and so are those with too few units to test, unless the best has too
    few itself: one method with many failures must not prevent the tests of all others.
    """
    valued = {row.method: row.summaries[column] for row in table.rows if row.summaries[column].n}
    complete = [cell for cell in valued.values() if cell.complete]
    if not complete:
        return ()
    sign = 1 if higher_is_better(table.columns[column].metric) else -1
    best = max(complete, key=lambda cell: sign * (cell.mean or 0.0))
    kept = {method: cell for method, cell in valued.items() if cell.complete or _below(cell, best)}
    least = min(MIN_UNITS, best.units.n)
    return tuple((method, cell.gains.values) for method, cell in kept.items() if cell.units.n >= least)


def _below(cell: ScoreSummary, best: ScoreSummary) -> bool:
    """Return whether a cell's mean over units, not runs, is worse than that of the best."""
    return fmean(cell.gains.values) < fmean(best.gains.values)


@cache
def separation(groups: UnitGroups) -> Separation:
    """Return the separation of `groups`; cached, since several tables need the same one and it is slow."""
    return separate(dict(groups))
