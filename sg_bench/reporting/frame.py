"""One tidy table of results: a row for each planned run and metric, from which tables and exports are made.

Scores are fractions in [0, 1] or in the unit of their metric; of some, less is better. Nothing depends on the order in
which records were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pandas as pd

from sg_bench.evaluation.metrics import higher_is_better, unit_of
from sg_bench.ledger import Record
from sg_bench.reporting.networks import network_identity

Records = Mapping[str, Record]
"""Ledger records by cell key."""
MetricRole = Literal["headline", "secondary", "parity", "other"]
"""secondary: printed next to the headline, which would mislead without it; other: in the CSV only."""
ColumnType = Literal["category", "string", "integer", "number", "boolean"]
DTYPES: dict[ColumnType, Any] = {
    "category": "category",
    "string": "str",
    "integer": "Int64",
    "number": "float64",
    "boolean": "bool",
}
"""pandas' type of each type of column; Int64 holds missing values."""


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
class FrameColumn:
    """One column of an exported table, as its data dictionary describes it."""

    name: str
    type: ColumnType
    description: str
    unit: str = ""


COLUMNS = (
    FrameColumn("method", "category", "Label of the method in the suite."),
    FrameColumn("task", "category", "Label of the task with its variant, as ncs[protocol=frozen]."),
    FrameColumn("pretraining_seed", "integer", "Seed of the pretraining."),
    FrameColumn("fine_tuning_seed", "integer", "Seed of the fine-tuning, and of the folds of a cross-validation."),
    FrameColumn("metric", "category", "Name of the metric; empty while nothing of the task has been computed."),
    FrameColumn(
        "role",
        "category",
        "headline: decides; secondary: without it the headline could mislead; parity: the one that the papers print; "
        "other: further ones.",
    ),
    FrameColumn("headline", "boolean", "Whether the metric is the task's headline metric."),
    FrameColumn("value", "number", "Score of the run; empty if it is undefined or the run is not done."),
    FrameColumn("unit", "category", "Unit of the value: fraction (in [0, 1]), mm, or empty for a regression's error."),
    FrameColumn("higher_is_better", "boolean", "Whether more of the metric is better."),
    FrameColumn("status", "category", "State of the run: done, failed, missing (its data are absent) or not run."),
    FrameColumn("error", "category", "Kind of a failed run's error: method, data or infrastructure."),
    FrameColumn("reason", "string", "Why the data are missing, or the message of the error."),
    FrameColumn("method_name", "category", "Registered name of the method."),
    FrameColumn("task_name", "category", "Name of the task's card."),
    FrameColumn("data", "category", "Name of the source of the task's data, such as lits."),
    FrameColumn("network", "category", "Name of the network."),
    FrameColumn("dimension", "integer", "Spatial dimensions of the network: 2 or 3."),
    FrameColumn("fraction", "number", "Fraction of the training patients that was used.", "fraction"),
    FrameColumn("n_train", "integer", "Cases that the run was fine-tuned on.", "cases"),
    FrameColumn("n_validation", "integer", "Cases of its validation.", "cases"),
    FrameColumn("n_test", "integer", "Cases that the value was computed on.", "cases"),
    FrameColumn("leak", "string", "Why the method may have seen test data; empty if nothing is known of that."),
    FrameColumn("wall_seconds", "number", "Wall time of the run.", "s"),
    FrameColumn("processor_seconds", "number", "Processor time of the run, summed over threads.", "s"),
    FrameColumn("peak_memory_mib", "number", "Peak memory of the process.", "MiB"),
    FrameColumn("device", "category", "cpu, or the name of the GPU."),
    FrameColumn("version", "category", "Version of sg-bench that computed the run."),
    FrameColumn("weights", "string", "Digest of the weights that the run started from."),
    FrameColumn("key", "string", "Key of the run's record in the ledger; empty if its data are missing."),
)
"""The columns of `results_frame`, in order."""


def results_frame(cells: Sequence[Cell], records: Records) -> pd.DataFrame:
    """Return one row for each planned run and each metric of its task; `COLUMNS` describes the columns.

    Rows are in the order of the plan, the metrics of a run in the order of `metric_columns`; categories too.

    Args:
        cells: the planned cells; those with equal keys are one run.
        records: ledger records by key; those of other cells are ignored.
    """
    runs = distinct_cells(cells)
    by_task: dict[str, list[MetricColumn]] = {}
    for column in metric_columns(runs, records):
        by_task.setdefault(column.task, []).append(column)
    rows: list[dict[str, Any]] = []
    for cell in runs:
        record = records.get(cell.key) if cell.key else None
        about = _about(cell, record)
        scores = (record.get("metrics") or {}) if is_done(record) and record else {}
        for column in by_task[cell.task]:
            rows.append({**about, **_of_metric(column), "value": scores.get(column.metric)})
    return typed_frame(rows, COLUMNS)


def typed_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[FrameColumn]) -> pd.DataFrame:
    """Return rows as a DataFrame with the given columns and their types; categories are in order of appearance."""
    found: dict[str, Any] = {}
    for column in columns:
        values = [row.get(column.name) for row in rows]
        if column.type == "category":
            kinds: Any = list(dict.fromkeys(value for value in values if value is not None))
            codes = {kind: code for code, kind in enumerate(kinds)}
            found[column.name] = pd.Categorical.from_codes([codes.get(value, -1) for value in values], kinds)
        else:
            found[column.name] = pd.array(values, dtype=DTYPES[column.type])
    return pd.DataFrame(found)


def distinct_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells without duplicates: a run shared by several seeds of a suite counts once."""
    seen: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        run = cell.key or (cell.pretraining_seed, cell.fine_tuning_seed)
        seen.setdefault((cell.method, cell.task, run), cell)
    return list(seen.values())


def metric_columns(cells: Iterable[Cell], records: Records) -> Iterator[MetricColumn]:
    """Yield the metrics of each task: headline, secondary ones, the papers' and others; without a record, one of ""."""
    tasks: dict[str, list[Record]] = {}
    for cell in cells:
        found = tasks.setdefault(cell.task, [])
        if cell.key in records:
            found.append(records[cell.key])
    for task, found in tasks.items():
        headline = next((record["headline"] for record in found if record.get("headline")), "")
        parity = next((record["parity"] for record in found if record.get("parity")), "")
        secondary = dict.fromkeys(name for record in found for name in secondary_metrics(record))
        yield MetricColumn(task, headline, "headline")
        yield from (MetricColumn(task, name, "secondary") for name in secondary if name not in (headline, parity))
        if parity and parity != headline:
            yield MetricColumn(task, parity, "parity")
        names = {name for record in found if is_done(record) for name in record["metrics"]}
        yield from (MetricColumn(task, name, "other") for name in sorted(names - {headline, parity, *secondary}))


def secondary_metrics(record: Record) -> Sequence[str]:
    """Return the names of a record's secondary metrics; early records call them `beside`, the first ones had none."""
    return record.get("secondary") or record.get("beside") or ()


def is_done(record: Record | None) -> bool:
    """Return whether there is a record, of a finished cell."""
    return record is not None and record["status"] == "done"


def _of_metric(column: MetricColumn) -> dict[str, Any]:
    return {
        "metric": column.metric,
        "role": column.role,
        "headline": column.role == "headline",
        "unit": {"%": "fraction"}.get(unit_of(column.metric), unit_of(column.metric)),
        "higher_is_better": higher_is_better(column.metric),
    }


def _about(cell: Cell, record: Record | None) -> dict[str, Any]:
    """Return the values of a run that are the same for all of its metrics."""
    about: dict[str, Any] = {
        "method": cell.method,
        "task": cell.task,
        "pretraining_seed": cell.pretraining_seed,
        "fine_tuning_seed": cell.fine_tuning_seed,
        "status": "missing" if cell.missing else "not run",
        "reason": cell.missing,
        "leak": getattr(cell, "leak", None),
        "key": cell.key,
    }
    return about if record is None else about | _recorded(record, about["leak"])


def _recorded(record: Record, leak: str | None) -> dict[str, Any]:
    error = {} if is_done(record) else (record.get("error") or {})
    recipe, ran, counts = (record.get(part) or {} for part in ("recipe", "ran", "counts"))
    task, initialisation = (recipe.get(part) or {} for part in ("task", "initialisation"))
    config = initialisation.get("config") or {}
    return {
        "status": "done" if is_done(record) else "failed",
        "error": None if is_done(record) else error.get("kind", "unknown"),
        "reason": error.get("message"),
        "leak": leak or record.get("leak") or None,
        "method_name": initialisation.get("method"),
        "task_name": task.get("name"),
        "data": (recipe.get("store") or {}).get("source"),
        "network": network_identity(config)[0] if config else None,
        "dimension": config.get("dimension", 3) if config else None,
        "fraction": task.get("fraction"),
        **{f"n_{part}": counts.get(part) for part in ("train", "validation", "test")},
        **{name: ran.get(name) for name in ("wall_seconds", "processor_seconds", "peak_memory_mib")},
        "device": (ran.get("hardware") or {}).get("device"),
        "version": (ran.get("software") or {}).get("sg-bench"),
        "weights": (record.get("outputs") or {}).get("initialisation"),
    }
