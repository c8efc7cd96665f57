"""Tables of results: methods x tasks, each summarised over its runs; render.py prints them.

Scores are fractions in [0, 1] or in the unit of their metric (`unit_of`); of some, less is better. Nothing depends on
the order in which records were written.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Protocol

from sg_bench.evaluation.metrics import higher_is_better, scale_of
from sg_bench.ledger import Record
from sg_bench.statistics.units import SeedPair, Units, units_of

Records = Mapping[str, Record]
"""Ledger records by cell key."""
MetricRole = Literal["headline", "secondary", "parity", "other"]
"""secondary: printed next to the headline, which would mislead without it; other: in the CSV only."""


class Cell(Protocol):
    """The attributes of a planned cell that a report reads."""

    @property
    def key(self) -> str:
        """Key of its ledger record; empty if its data are missing."""

    @property
    def method(self) -> str:
        """Label of the method."""

    @property
    def task(self) -> str:
        """Label of the task, with its variant."""

    @property
    def pretraining_seed(self) -> int:
        """Seed of the initialisation."""

    @property
    def fine_tuning_seed(self) -> int:
        """Seed of the fine-tuning."""

    @property
    def missing(self) -> str | None:
        """Reason for which its data are missing, or None."""


@dataclass(frozen=True)
class MetricColumn:
    """One metric of one task."""

    task: str
    metric: str
    """Empty if there is no record of the task."""
    role: MetricRole


@dataclass(frozen=True)
class ScoreSummary:
    """The planned runs of one method on one task, and their scores under one metric."""

    planned: int
    values: tuple[float, ...] = ()
    """Scores, in the order of the plan."""
    failed: tuple[tuple[str, int], ...] = ()
    """Number of failed runs by kind."""
    missing: tuple[str, ...] = ()
    """Reason of each run whose data are missing."""
    undefined: int = 0
    """Number of finished runs whose metric is undefined (an AUC without positive cases)."""
    pending: int = 0
    """Number of runs without a record whose data are there."""
    seeds: tuple[SeedPair, ...] = ()
    """Seeds of each value."""
    keys: tuple[str, ...] = ()
    """Key of the ledger record of each value."""
    leaks: tuple[str, ...] = ()
    """Distinct reasons for which the method may have seen the test data."""
    metric: str = ""

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
        """Return the independent units (`units_of`) of the values."""
        return units_of(dict(zip(self.seeds, self.values, strict=True)))

    @property
    def gains(self) -> Units:
        """Return the units with values that are higher where they are better: negative ones where less is better."""
        return oriented(self.units, self.metric)

    @property
    def complete(self) -> bool:
        """Return whether every planned run has a value."""
        return 0 < self.planned == self.n


@dataclass(frozen=True)
class MethodRow:
    """One method; its summaries are in the order of the table's columns."""

    method: str
    summaries: tuple[ScoreSummary, ...]


@dataclass(frozen=True)
class Table:
    """Methods x (task, metric), and the finished runs."""

    columns: tuple[MetricColumn, ...]
    rows: tuple[MethodRow, ...]
    done: tuple[tuple[Cell, Record], ...] = field(repr=False)
    """Each finished cell with its record, in the order of the plan."""

    @property
    def printed(self) -> tuple[int, ...]:
        """Return the indices of the columns that printed tables show; the CSV has all columns."""
        return tuple(index for index, column in enumerate(self.columns) if column.role != "other")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the distinct reasons of missing data in reading order."""
        shown = (reason for row in self.rows for index in self.printed for reason in row.summaries[index].missing)
        return tuple(dict.fromkeys(shown))

    def select(self, rows: Iterable[int], columns: Iterable[int]) -> Table:
        """Return the table of some rows and columns in the given order; `best` is then the best of these rows."""
        kept = tuple(columns)
        selected = (self.rows[row] for row in rows)
        narrowed = tuple(replace(row, summaries=tuple(row.summaries[column] for column in kept)) for row in selected)
        return replace(self, rows=narrowed, columns=tuple(self.columns[column] for column in kept))

    def best(self, column: int) -> float | None:
        """Return the best mean, as printed, among the complete cells of a column."""
        means = [printed_mean(row.summaries[column]) for row in self.rows if row.summaries[column].complete]
        choose = max if higher_is_better(self.columns[column].metric) else min
        return choose(means, default=None)


def secondary_metrics(record: Record) -> Sequence[str]:
    """Return the names of a record's secondary metrics; early records call them `beside`, the first ones had none."""
    return record.get("secondary") or record.get("beside") or ()


def printed_mean(summary: ScoreSummary) -> float:
    """Return the mean in percent, or in the metric's unit, rounded as it is printed, so that equal texts are ties."""
    return round(scale_of(summary.metric) * (summary.mean or 0.0), 2)


def oriented(units: Units, metric: str) -> Units:
    """Return units with values that are higher where they are better."""
    return units if higher_is_better(metric) else replace(units, values=tuple(-value for value in units.values))


def main_table(cells: Sequence[Cell], records: Records) -> Table:
    """Return the table of `cells`; rows and columns are in the order of the plan.

    Args:
        cells: the planned cells; those with equal keys are one run.
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
    """Return the cells without duplicates: a run shared by several seeds of a suite counts once."""
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


def _summary(cells: Sequence[Cell], records: Records, metric: str) -> ScoreSummary:
    found = [(cell, records[cell.key]) for cell in cells if cell.key in records]
    scored = [(cell, record, record["metrics"].get(metric)) for cell, record in found if _is_done(record)]
    valued = [(cell, record, float(score)) for cell, record, score in scored if score is not None]
    failed = Counter((record.get("error") or {}).get("kind", "unknown") for _, record in found if not _is_done(record))
    absent = [cell for cell in cells if cell.key not in records]
    missing = tuple(cell.missing for cell in absent if cell.missing)
    return ScoreSummary(
        planned=len(cells),
        values=tuple(score for _, _, score in valued),
        failed=tuple(sorted(failed.items())),
        missing=missing,
        undefined=len(scored) - len(valued),
        pending=len(absent) - len(missing),
        seeds=tuple((cell.pretraining_seed, cell.fine_tuning_seed) for cell, _, _ in valued),
        keys=tuple(cell.key for cell, _, _ in valued),
        leaks=tuple(dict.fromkeys(leak for cell, record, _ in valued if (leak := _leak(cell, record)))),
        metric=metric,
    )


def _leak(cell: Cell, record: Record) -> str:
    """Return the reason for which the method may have seen the test data, or ""."""
    return str(getattr(cell, "leak", None) or record.get("leak") or "")


def _is_done(record: Record | None) -> bool:
    return record is not None and record["status"] == "done"
