"""The numbers of a table: methods x tasks, each summarised over its runs. How they are printed stands in render.py.

Scores are fractions in [0, 1], higher is better. Nothing depends on the order in which records were written.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Protocol

from sg_bench.ledger import Record
from sg_bench.statistics.units import SeedPair, Units, units_of

Records = Mapping[str, Record]
"""Ledger records by cell key."""
MetricRole = Literal["headline", "secondary", "parity", "other"]
"""secondary: printed next to the headline, which would mislead without it; other: in the CSV only."""


class Cell(Protocol):
    """What a report needs to know of a planned cell."""

    @property
    def key(self) -> str:
        """Name of its ledger record; empty when its data are absent."""

    @property
    def method(self) -> str:
        """The row's label."""

    @property
    def task(self) -> str:
        """The task with its variant."""

    @property
    def pretraining_seed(self) -> int:
        """Seed of the initialisation."""

    @property
    def fine_tuning_seed(self) -> int:
        """Seed of the fine-tuning."""

    @property
    def missing(self) -> str | None:
        """Why its data are absent, or None."""


@dataclass(frozen=True)
class MetricColumn:
    """One metric of one task."""

    task: str
    metric: str
    """Empty while no record of the task exists."""
    role: MetricRole


@dataclass(frozen=True)
class RunSummary:
    """What the planned runs of one method on one task came to, under one metric."""

    planned: int
    values: tuple[float, ...] = ()
    """In the plan's order."""
    failed: tuple[tuple[str, int], ...] = ()
    """Number of failed runs by kind."""
    missing: tuple[str, ...] = ()
    """The reason of each run whose data are absent."""
    undefined: int = 0
    """Runs that ended well, but whose metric has no value (an AUC without positives)."""
    pending: int = 0
    seeds: tuple[SeedPair, ...] = ()
    """Of each value."""
    keys: tuple[str, ...] = ()
    """The ledger record of each value."""
    leaks: tuple[str, ...] = ()
    """Why the methods may have seen the test data of these runs, each reason once."""

    @property
    def n(self) -> int:
        """Return the number of values."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Return the mean, or None without a value."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Return the sample standard deviation (ddof 1), or None for fewer than two values."""
        return statistics.stdev(self.values) if self.n > 1 else None

    @cached_property
    def units(self) -> Units:
        """Return the independent repetitions behind the values."""
        return units_of(dict(zip(self.seeds, self.values, strict=True)))

    @property
    def complete(self) -> bool:
        """Return whether every planned run has a value."""
        return 0 < self.planned == self.n


@dataclass(frozen=True)
class MethodRow:
    """One method; its summaries stand in the order of the table's columns."""

    method: str
    summaries: tuple[RunSummary, ...]


@dataclass(frozen=True)
class Table:
    """Methods x (task, metric), and the single runs behind it."""

    columns: tuple[MetricColumn, ...]
    rows: tuple[MethodRow, ...]
    done: tuple[tuple[Cell, Record], ...] = field(repr=False)
    """Each cell that was computed to the end, in the plan's order, with its record."""

    @property
    def printed(self) -> tuple[int, ...]:
        """Return the indices of the columns that a printed table shows; the CSV has all."""
        return tuple(index for index, column in enumerate(self.columns) if column.role != "other")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the distinct reasons of missing data in reading order."""
        shown = (reason for row in self.rows for index in self.printed for reason in row.summaries[index].missing)
        return tuple(dict.fromkeys(shown))

    def select(self, rows: Iterable[int], columns: Iterable[int]) -> Table:
        """Return the table of some rows and columns, in the given order; what is best is decided among them."""
        kept = tuple(columns)
        chosen = (self.rows[row] for row in rows)
        narrowed = tuple(replace(row, summaries=tuple(row.summaries[column] for column in kept)) for row in chosen)
        return replace(self, rows=narrowed, columns=tuple(self.columns[column] for column in kept))

    def best(self, column: int) -> float | None:
        """Return the highest percentage, as printed, among the complete cells of a column."""
        summaries = (row.summaries[column] for row in self.rows)
        return max((percent(summary) for summary in summaries if summary.complete), default=None)


def secondary_metrics(record: Record) -> Sequence[str]:
    """Return the names of a record's secondary metrics; early records call them `beside`, the first ones had none."""
    return record.get("secondary") or record.get("beside") or ()


def percent(summary: RunSummary) -> float:
    """Return the mean in percent as it is printed, so that what looks like a tie is one."""
    return round(100 * (summary.mean or 0.0), 2)


def main_table(cells: Sequence[Cell], records: Records) -> Table:
    """Return the table of `cells`, rows and columns in the order in which they are planned.

    Args:
        cells: the planned cells; two with one key are one run.
        records: ledger records by key; those of other cells are ignored.
    """
    runs = _distinct(cells)
    columns = tuple(_columns(runs, records))
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in runs:
        groups.setdefault((cell.method, cell.task), []).append(cell)
    rows = []
    for method in dict.fromkeys(cell.method for cell in runs):
        found = (_summary(groups.get((method, column.task), []), records, column.metric) for column in columns)
        rows.append(MethodRow(method, tuple(found)))
    done = tuple((cell, records[cell.key]) for cell in runs if _is_done(records.get(cell.key)))
    return Table(columns, tuple(rows), done)


def _distinct(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells without repetition: a run that several seeds of a suite share counts once."""
    seen: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        run = cell.key or (cell.pretraining_seed, cell.fine_tuning_seed)
        seen.setdefault((cell.method, cell.task, run), cell)
    return list(seen.values())


def _columns(cells: Sequence[Cell], records: Records) -> Iterator[MetricColumn]:
    for task in dict.fromkeys(cell.task for cell in cells):
        found = [records[cell.key] for cell in cells if cell.task == task and cell.key in records]
        headline = next((record["headline"] for record in found if record.get("headline")), "")
        parity = next((record["parity"] for record in found if record.get("parity")), "")
        secondary = dict.fromkeys(name for record in found for name in secondary_metrics(record))
        yield MetricColumn(task, headline, "headline")
        yield from (MetricColumn(task, name, "secondary") for name in secondary if name not in (headline, parity))
        if parity and parity != headline:
            yield MetricColumn(task, parity, "parity")
        names = {name for record in found if _is_done(record) for name in record["metrics"]}
        yield from (MetricColumn(task, name, "other") for name in sorted(names - {headline, parity, *secondary}))


def _summary(cells: Sequence[Cell], records: Records, metric: str) -> RunSummary:
    found = [(cell, records[cell.key]) for cell in cells if cell.key in records]
    scored = [(cell, record, record["metrics"].get(metric)) for cell, record in found if _is_done(record)]
    valued = [(cell, record, float(score)) for cell, record, score in scored if score is not None]
    failed = Counter((record.get("error") or {}).get("kind", "unknown") for _, record in found if not _is_done(record))
    absent = [cell for cell in cells if cell.key not in records]
    missing = tuple(cell.missing for cell in absent if cell.missing)
    return RunSummary(
        planned=len(cells),
        values=tuple(score for _, _, score in valued),
        failed=tuple(sorted(failed.items())),
        missing=missing,
        undefined=len(scored) - len(valued),
        pending=len(absent) - len(missing),
        seeds=tuple((cell.pretraining_seed, cell.fine_tuning_seed) for cell, _, _ in valued),
        keys=tuple(cell.key for cell, _, _ in valued),
        leaks=tuple(dict.fromkeys(leak for cell, record, _ in valued if (leak := _leak(cell, record)))),
    )


def _leak(cell: Cell, record: Record) -> str:
    """Return why the method may have seen the test data, "" if nothing says so: a cell's or record's `leak`."""
    return str(getattr(cell, "leak", None) or record.get("leak") or "")


def _is_done(record: Record | None) -> bool:
    return record is not None and record["status"] == "done"
