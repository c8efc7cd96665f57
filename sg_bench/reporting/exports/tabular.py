"""Results as tidy tables in Parquet or CSV: scores, curves and test cases, with a data dictionary.

`datapackage.json` describes the tables for programs (Frictionless Data Package, version 1), `data-dictionary.md` for
people.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sg_bench.evaluation.metrics import metric_of
from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.exports.tracked import curve_points
from sg_bench.reporting.frame import COLUMNS, ColumnType, FrameColumn, typed_frame
from sg_bench.workspace import write_changed

IDENTITY = tuple(
    column
    for column in COLUMNS
    if column.name in ("method", "task", "pretraining_seed", "fine_tuning_seed", "method_name", "task_name", "key")
)
"""Columns that each table has."""
CURVES = (
    *IDENTITY,
    FrameColumn("quantity", "category", "What was measured: a loss of training or validation, or the learning rate."),
    FrameColumn("step", "integer", "Optimisation steps of the stage so far.", "steps"),
    FrameColumn("value", "number", "Its value."),
)
CASES = (
    *IDENTITY,
    FrameColumn("case", "string", "Id of the test case, or of one of its crops."),
    FrameColumn("patient", "category", "Id of its patient, as the data set names it."),
)
OF_CASES = {
    "score": "Output of the network, by finding if there are several.",
    "truth": "Label, by finding if there are several.",
    "both": "Voxels that are in the prediction and in the truth.",
    "predicted": "Voxels of the prediction.",
    "true": "Voxels of the truth.",
}
FRICTIONLESS: dict[ColumnType, str] = {
    "category": "string",
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}


def write_tables(evidence: Evidence, folder: Path, suffix: str) -> int:
    """Write the tables of some results and their data dictionary; return the number of scores.

    Args:
        evidence: cells and records.
        folder: of the files.
        suffix: "parquet" or "csv".
    """
    runs = [run for found in evidence.runs.values() for run in found]
    cases, of_cases = cases_frame(runs)
    tables = {
        "scores": (evidence.frame, COLUMNS, "One row for each planned run and metric."),
        "curves": (curves_frame(runs), CURVES, "One row for each quantity and step of the fine-tuning of a run."),
        "cases": (
            cases,
            of_cases,
            "One row for each test case of a run; a column is empty where a task has no such value.",
        ),
    }
    for name, (frame, _, _) in tables.items():
        write_changed(folder / f"{name}.{suffix}", _bytes(frame, suffix))
    write_changed(folder / "datapackage.json", _package({name: table[1:] for name, table in tables.items()}, suffix))
    write_changed(folder / "data-dictionary.md", _dictionary({name: table[1:] for name, table in tables.items()}))
    return len(evidence.frame)


def curves_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the curves of fine-tunings; `CURVES` describes the columns."""
    rows = [
        {**_identity(run), "quantity": point.name, "step": point.step, "value": point.value}
        for run in runs
        for point in curve_points(run.curves())
    ]
    return typed_frame(rows, CURVES)


def cases_frame(runs: Sequence[Run]) -> tuple[pd.DataFrame, tuple[FrameColumn, ...]]:
    """Return the test cases of runs and the columns of the table, which depend on the tasks."""
    rows = [{**_identity(run), **case} for run in runs for case in run.case_rows()]
    known = {column.name for column in CASES}
    names = list(dict.fromkeys(name for row in rows for name in row if name not in known))
    columns = (*CASES, *(_case_column(name, rows) for name in names))
    return typed_frame([_scalars(row) for row in rows], columns), columns


def _identity(run: Run) -> dict[str, Any]:
    recipe = run.record.get("recipe") or {}
    return {
        "method": run.cell.method,
        "task": run.cell.task,
        "pretraining_seed": run.cell.pretraining_seed,
        "fine_tuning_seed": run.cell.fine_tuning_seed,
        "method_name": (recipe.get("initialisation") or {}).get("method"),
        "task_name": (recipe.get("task") or {}).get("name"),
        "key": run.cell.key,
    }


def _case_column(name: str, rows: Sequence[Mapping[str, Any]]) -> FrameColumn:
    values = [row[name] for row in rows if row.get(name) is not None]
    text = any(isinstance(value, str | list) for value in values)
    metric = metric_of(name)
    described = OF_CASES.get(name, f"{metric.definition if metric else f'Value of {name} of the case'}.")
    if any(isinstance(value, list) for value in values):
        described += " Several values are a JSON list."
    return FrameColumn(name, "string" if text else "number", described)


def _scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}


def _bytes(frame: pd.DataFrame, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == "parquet":
        frame.to_parquet(buffer, index=False)
    else:
        frame.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def _package(tables: Mapping[str, tuple[Sequence[FrameColumn], str]], suffix: str) -> str:
    resources = [
        {
            "name": name,
            "path": f"{name}.{suffix}",
            "description": about,
            "schema": {"fields": [_field(column) for column in columns], "missingValues": [""]},
        }
        for name, (columns, about) in tables.items()
    ]
    return json.dumps({"name": "sg-bench-results", "resources": resources}, indent=1, ensure_ascii=False) + "\n"


def _field(column: FrameColumn) -> dict[str, str]:
    unit = {"unit": column.unit} if column.unit else {}
    return {"name": column.name, "type": FRICTIONLESS[column.type], "description": column.description, **unit}


def _dictionary(tables: Mapping[str, tuple[Sequence[FrameColumn], str]]) -> str:
    return "\n".join(line for name, (columns, about) in tables.items() for line in _section(name, columns, about))


def _section(name: str, columns: Sequence[FrameColumn], about: str) -> Iterator[str]:
    yield from (f"# {name}", "", about, "", "| column | type | unit | meaning |", "| :--- | :--- | :--- | :--- |")
    for column in columns:
        cells = (column.name, FRICTIONLESS[column.type], column.unit, column.description.replace("|", "/"))
        yield f"| {' | '.join(cells)} |"
    yield ""
