"""The same table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.reporting.render import PARITY, cell_text, footnotes, is_best
from sg_bench.reporting.tables import Row, Table

PARITY_MARK = "†"

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text


def console_table(table: Table, title: str = "") -> RichTable:
    """Return `table` as rich prints it: a line for the task, one for the metric, footnotes beneath."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    columns = [table.columns[index] for index in table.printed]
    parity = [f"{PARITY_MARK} {PARITY}"] if any(column.role == "parity" for column in columns) else []
    caption = Text("\n".join([*parity, *footnotes(table)]))
    out = RichTable(title=Text(title) if title else None, caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
    out.add_column("method", no_wrap=True)
    for column in columns:
        mark = PARITY_MARK if column.role == "parity" else ""
        out.add_column(Text(f"{column.task}\n{column.metric}{mark}"), justify="right", overflow="fold")
    for row in table.rows:
        out.add_row(Text(row.method), *(_text(table, row, index) for index in table.printed))
    return out


def _text(table: Table, row: Row, column: int) -> Text:
    from rich.text import Text

    summary = row.summaries[column]
    return Text(cell_text(summary, table), style="bold" if is_best(summary, table, column) else "")
