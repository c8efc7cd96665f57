"""Label efficiency: each method on nested fractions of a task's training patients (`ncc[fraction=0.1]`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sg_bench.reporting.documents import Document, Heading, PrintedTable, csv_text
from sg_bench.reporting.frame import MetricColumn, MetricRole
from sg_bench.reporting.render import PARITY, main_sheet, score_fields
from sg_bench.reporting.separation import ties
from sg_bench.reporting.tables import Table
from sg_bench.tasks import parse_reference

NOTHING = "The suite has no task with a fraction of its labels, such as ncc[fraction=0.1]."
SUBSETS = "Fractions of the training patients, nested within a fine-tuning seed and the same for all methods."
CSV_COLUMNS = (
    *("task", "fraction", "training_cases", "metric", "role", "method"),
    *("mean", "std", "n", "planned", "low", "high", "mark"),
)


@dataclass(frozen=True)
class LabelShare:
    """One fraction of a task's training patients."""

    fraction: float
    task: str
    """The suite's label of the task with this fraction."""


def shares(tasks: list[str]) -> dict[str, list[LabelShare]]:
    """Return the fractions, in ascending order, of each task that has any below 1.

    Args:
        tasks: labels; a label without its fraction names the group, as "ncc[data=phantom]".
    """
    groups: dict[str, list[LabelShare]] = {}
    for task in tasks:
        name, choices = parse_reference(task)
        fraction = float(choices.pop("fraction", 1))
        variant = ",".join(f"{axis}={value}" for axis, value in sorted(choices.items()))
        groups.setdefault(f"{name}[{variant}]" if variant else name, []).append(LabelShare(fraction, task))
    growing = {name: sorted(found, key=lambda share: share.fraction) for name, found in groups.items()}
    return {name: found for name, found in growing.items() if found[0].fraction < 1}


def label_efficiency_document(table: Table) -> Document:
    """Return a table for each task and metric: methods x fractions of the labels.

    Args:
        table: the suite's main table.
    """
    groups = shares(list(dict.fromkeys(column.task for column in table.columns)))
    narrowed = [(name, share, part) for name, share in groups.items() for part in _narrowed(table, share)]
    kept = [(name, share, part) for name, share, part in narrowed if part.columns]
    sheets = tuple(_sheet(name, share, part) for name, share, part in kept)
    lines = [line for name, share, part in kept for line in _csv_lines(name, share, part)]
    notes = (SUBSETS,) if sheets else (NOTHING,)
    text = csv_text(CSV_COLUMNS, lines)
    blank = all(len(found) < 2 for found in groups.values())
    return Document("label-efficiency", "Label efficiency", sheets, text, notes, blank=blank)


def _narrowed(table: Table, found: list[LabelShare]) -> Iterator[Table]:
    """Yield a table for the headline, each secondary and the papers' metric: a column for each fraction.

    Methods without a planned run are left out.
    """
    tasks = [share.task for share in found]
    own = [index for index in table.printed if table.columns[index].task in tasks]
    shown = sorted(own, key=lambda index: tasks.index(table.columns[index].task))
    secondary = {table.columns[index].metric: None for index in shown if table.columns[index].role == "secondary"}
    wanted: list[tuple[MetricRole, str | None]] = [
        ("headline", None),
        *(("secondary", name) for name in secondary),
        ("parity", None),
    ]
    for role, metric in wanted:
        columns = [
            index
            for index in shown
            if table.columns[index].role == role and metric in (None, table.columns[index].metric)
        ]
        rows = [place for place, row in enumerate(table.rows) if any(row.summaries[index].planned for index in columns)]
        yield table.select(rows, columns)


def _sheet(name: str, found: list[LabelShare], table: Table) -> PrintedTable:
    metric = next((column.metric for column in table.columns if column.metric), "")
    label = f"{metric} ({PARITY})" if table.columns[0].role == "parity" else metric
    cases = training_cases(table)
    fractions = {share.task: share.fraction for share in found}

    def heading(column: MetricColumn) -> Heading:
        count = f" ({cases[column.task]} cases)" if column.task in cases else ""
        return Heading(f"{100 * fractions[column.task]:g} % of labels{count}")

    return main_sheet(" · ".join(part for part in ("Label efficiency: " + name, label) if part), table, heading)


def training_cases(table: Table) -> Mapping[str, int]:
    """Return the number of training cases of each task, if its records have one and agree."""
    found: dict[str, set[int]] = {}
    for cell, record in table.done:
        if "train" in record.get("counts", {}):
            found.setdefault(cell.task, set()).add(int(record["counts"]["train"]))
    return {task: counts.pop() for task, counts in found.items() if len(counts) == 1}


def _csv_lines(name: str, found: list[LabelShare], table: Table) -> Iterator[dict[str, object]]:
    fractions, cases = {share.task: share.fraction for share in found}, training_cases(table)
    for index, column in enumerate(table.columns):
        share = {"fraction": fractions[column.task], "training_cases": cases.get(column.task)}
        tied = ties(table, index)
        yield from ({**vars(column), "task": name, **share, **score_fields(row, index, tied)} for row in table.rows)
