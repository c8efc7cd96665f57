"""The same table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.reporting.render import PARITY, entry, footnotes, tie_sentences, unit_sentences
from sg_bench.reporting.separation import Ties, ties
from sg_bench.reporting.tables import Row, Table

PARITY_MARK = "‡"

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
    tied = {index: ties(table, index) for index in table.printed}
    told = [*tie_sentences(list(tied.values())), *unit_sentences(table)]
    caption = Text("\n".join([*parity, *footnotes(table), *told]))
    out = RichTable(title=Text(title) if title else None, caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
    out.add_column("method", no_wrap=True)
    for column in columns:
        mark = PARITY_MARK if column.role == "parity" else ""
        out.add_column(Text(f"{column.task}\n{column.metric}{mark}"), justify="right", overflow="fold")
    for row in table.rows:
        out.add_row(Text(row.method), *(_text(table, row, index, tied[index]) for index in table.printed))
    return out


def _text(table: Table, row: Row, column: int, tied: Ties) -> Text:
    from rich.text import Text

    cell = entry(table, row, column, tied)
    return Text(cell.text, style="bold" if cell.best else "")
