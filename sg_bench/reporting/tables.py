"""Tables of results: methods x tasks, each summarised over the rows of the tidy table; render.py prints them.

Scores are fractions in [0, 1] or in the unit of their metric (`unit_of`); of some, less is better. Nothing depends on
the order in which records were written.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from sg_bench.evaluation.metrics import higher_is_better, scale_of
from sg_bench.ledger import Record
from sg_bench.reporting.frame import (
    Cell,
    MetricColumn,
    Records,
    distinct_cells,
    is_done,
    metric_columns,
    results_frame,
)
from sg_bench.statistics.units import SeedPair, Units, units_of

SUMMARISED = (
    *("method", "task", "metric", "status", "value", "error", "reason", "leak"),
    *("pretraining_seed", "fine_tuning_seed", "key"),
)
"""Columns of the tidy table that a summary is made of."""


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
    frame: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    """The tidy table (`results_frame`) that the summaries are of."""

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
    runs = distinct_cells(cells)
    columns = tuple(metric_columns(runs, records))
    frame = results_frame(cells, records)
    rows = {name: frame[name].tolist() for name in SUMMARISED}
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, group in enumerate(zip(rows["method"], rows["task"], rows["metric"], strict=True)):
        groups.setdefault(group, []).append(place)
    methods = []
    for method in dict.fromkeys(rows["method"]):
        found = (_summary(rows, groups.get((method, each.task, each.metric), []), each.metric) for each in columns)
        methods.append(MethodRow(method, tuple(found)))
    done = tuple((cell, records[cell.key]) for cell in runs if is_done(records.get(cell.key)))
    return Table(columns, tuple(methods), done, frame)


def _summary(rows: Mapping[str, Sequence[Any]], places: Sequence[int], metric: str) -> ScoreSummary:
    """Return the summary of some rows of the tidy table, those of one method, task and metric."""
    status, value = rows["status"], rows["value"]
    scored = [place for place in places if status[place] == "done"]
    valued = [place for place in scored if not math.isnan(value[place])]
    failed = Counter(rows["error"][place] for place in places if status[place] == "failed")
    return ScoreSummary(
        planned=len(places),
        values=tuple(value[place] for place in valued),
        failed=tuple(sorted(failed.items())),
        missing=tuple(rows["reason"][place] for place in places if status[place] == "missing"),
        undefined=len(scored) - len(valued),
        pending=sum(status[place] == "not run" for place in places),
        seeds=tuple((rows["pretraining_seed"][place], rows["fine_tuning_seed"][place]) for place in valued),
        keys=tuple(rows["key"][place] for place in valued),
        leaks=tuple(dict.fromkeys(leak for place in valued if isinstance(leak := rows["leak"][place], str))),
        metric=metric,
    )
