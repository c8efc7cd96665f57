"""The main table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sg_bench.reporting.frame import MetricColumn
from sg_bench.reporting.render import PARITY, footnotes, table_cell, tie_sentences, unit_sentence, unit_sentences
from sg_bench.reporting.separation import ties
from sg_bench.reporting.tables import Table
from sg_bench.tasks import parse_reference

PARITY_MARK = "‡"
MOST_COLUMNS = 6
"""With more metrics than this, and than methods, the table is transposed: one row for each metric."""

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def console_table(table: Table, title: str = "") -> RichTable:
    """Return `table` for `rich`, with its footnotes as the caption.

    A variant that all tasks have in common is named once, in the caption.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    columns = [table.columns[index] for index in table.printed]
    shared = shared_variant(column.task for column in columns)
    tied = {index: ties(table, index) for index in table.printed}
    parity = [f"{PARITY_MARK} {PARITY}"] if any(column.role == "parity" for column in columns) else []
    common = [f"All tasks: {', '.join(f'{axis}={value}' for axis, value in shared.items())}."] if shared else []
    metrics = [text] if (text := unit_sentence(column.metric for column in columns)) else []
    tests = [*tie_sentences(list(tied.values())), *unit_sentences(table)]
    caption = [*parity, *common, *metrics, *footnotes(table), *tests]
    out = RichTable(title=Text(title) if title else None, caption=Text("\n".join(caption)), caption_justify="left")
    out.box = box.SIMPLE_HEAD
    cells = [[table_cell(table, row, index, tied[index]) for index in table.printed] for row in table.rows]
    shown = [[Text(cell.text, style="bold" if cell.best else "") for cell in row] for row in cells]
    if len(columns) > max(MOST_COLUMNS, len(shown)):
        for name in ("task", "metric"):
            out.add_column(name, no_wrap=True)
        for row in table.rows:
            out.add_column(Text(row.method), justify="right")
        for column, *values in zip(columns, *shown, strict=True):
            out.add_row(*map(Text, _head(column, shared)), *values)
        return out
    out.add_column("method", no_wrap=True)
    for column in columns:
        out.add_column(Text("\n".join(_head(column, shared))), justify="right", overflow="fold")
    for row, values in zip(table.rows, shown, strict=True):
        out.add_row(Text(row.method), *values)
    return out


def shared_variant(tasks: Iterable[str]) -> dict[str, str]:
    """Return the choices, by axis, that several tasks have in common; none for a single task."""
    names = set(tasks)
    choices = [set(parse_reference(name)[1].items()) for name in names]
    return dict(sorted(set.intersection(*choices))) if len(names) > 1 else {}


def _head(column: MetricColumn, shared: dict[str, str]) -> tuple[str, str]:
    """Return a column's task, without the choices that all tasks share, and its metric."""
    name, choices = parse_reference(column.task)
    own = ",".join(f"{axis}={value}" for axis, value in choices.items() if axis not in shared)
    mark = PARITY_MARK if column.role == "parity" else ""
    return f"{name}[{own}]" if own else name, f"{column.metric}{mark}"
