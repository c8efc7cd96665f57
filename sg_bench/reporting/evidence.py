"""The input of a report: the planned cells, and the ledger's records of those that were computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sg_bench.ledger import Record, ScoreTables
from sg_bench.reporting.frame import Cell, Records, secondary_metrics
from sg_bench.reporting.tables import Table, main_table
from sg_bench.statistics.units import SeedPair, Units, units_of


@dataclass(frozen=True)
class Run:
    """One finished cell."""

    cell: Cell
    record: Record
    tables: ScoreTables | None = field(default=None, compare=False, repr=False)
    """Its per-case scores and curves; None: those inside the record."""

    def curves(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row an epoch of the fine-tuning; see `ScoreTables.curves`."""
        return self._tables().curves(self.cell.key, columns)

    def case_rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a test case; see `ScoreTables.case_rows`."""
        return self._tables().case_rows(self.cell.key)

    def case_scores(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return some columns of its per-case scores; see `ScoreTables.case_scores`."""
        return self._tables().case_scores(self.cell.key, columns)

    def _tables(self) -> ScoreTables:
        return self.tables or ScoreTables({self.cell.key: self.record})

    @property
    def seeds(self) -> SeedPair:
        """Return (pretraining seed, fine-tuning seed)."""
        return self.cell.pretraining_seed, self.cell.fine_tuning_seed


@dataclass(frozen=True)
class Evidence:
    """Cells in the order of the suite, and records by key."""

    cells: Sequence[Cell]
    records: Records
    folder: Path | None = None
    """The cells/ of a workspace or results folder, with the tables of the records; None: rows inside the records."""

    @cached_property
    def tables(self) -> ScoreTables:
        """The per-case scores and curves of the records."""
        return ScoreTables(self.records, self.folder)

    @cached_property
    def methods(self) -> list[str]:
        """Labels of the methods, in the order of the suite."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    @cached_property
    def tasks(self) -> list[str]:
        """Labels of the tasks, in the order of the suite."""
        return list(dict.fromkeys(cell.task for cell in self.cells))

    @cached_property
    def runs(self) -> dict[tuple[str, str], list[Run]]:
        """Finished runs by (method, task)."""
        found: dict[tuple[str, str], list[Run]] = {}
        for cell in self.cells:
            record = self.records.get(cell.key) if cell.key else None
            if record is not None and record["status"] == "done":
                found.setdefault((cell.method, cell.task), []).append(Run(cell, record, self.tables))
        return found

    @cached_property
    def table(self) -> Table:
        """The main table: summaries of the rows of `frame`."""
        return main_table(self.cells, self.records)

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each planned run and metric; see `results_frame`."""
        return self.table.frame

    def headline(self, task: str) -> str | None:
        """Return the honest metric of a task, None while nothing of it is done."""
        return next((str(run.record["headline"]) for run in self._of_task(task)), None)

    def parity(self, task: str) -> str | None:
        """Return the metric that published tables print, if it is another one."""
        return next((run.record["parity"] for run in self._of_task(task)), None)

    def secondary(self, task: str) -> list[str]:
        """Return the metrics without which the headline would mislead; records of older versions name none."""
        return list(dict.fromkeys(name for run in self._of_task(task) for name in secondary_metrics(run.record)))

    def scores(self, method: str, task: str, metric: str) -> dict[SeedPair, float]:
        """Return the defined scores, fractions in [0, 1], of a method on a task by seeds."""
        found = {run.seeds: run.record["metrics"].get(metric) for run in self.runs.get((method, task), [])}
        return {seeds: float(score) for seeds, score in found.items() if score is not None}

    def units(self, method: str, task: str, metric: str) -> Units:
        """Return the independent repetitions of a method on a task."""
        return units_of(self.scores(method, task, metric))

    def method_name(self, method: str) -> str:
        """Return the registered name behind a label; the label itself while nothing of it is done."""
        runs = (run for (label, _), found in self.runs.items() if label == method for run in found)
        return next((_recipe(run.record)["initialisation"]["method"] for run in runs), method)

    def _of_task(self, task: str) -> Iterator[Run]:
        return (run for (_, label), found in self.runs.items() if label == task for run in found)


def _recipe(record: Record) -> Mapping[str, Any]:
    recipe: Mapping[str, Any] = record["recipe"]
    return recipe
