"""Printed tables as GitHub-flavoured Markdown, aligned to be legible as plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sg_bench.reporting.documents import Document, PrintedCell, PrintedTable, one_line

SPECIAL = re.compile(r"[\\|*`~]|(?<!\w)_|_(?!\w)|(?<=\])\(")
ENTITY, TAG = re.compile(r"&(?=#?\w+;)"), re.compile(r"<(?=[A-Za-z/!?])")
BLOCK = re.compile(r"^(?=[#>+-])|(?<=^\d)(?=[.)])")
"""Beginnings that would make a paragraph a heading, a quotation or a list."""


def document(content: Document) -> str:
    """Return a document as Markdown; a single table has no heading of its own."""
    blocks = [f"# {escaped(content.title)}", *map(paragraph, content.notes)]
    for table in content.tables:
        blocks += [f"## {escaped(table.title)}"] if len(content.tables) > 1 else []
        blocks += [*map(paragraph, table.notes), _grid(table), *map(paragraph, table.footnotes), *_joined(table.legend)]
    blocks += _joined(content.legend)
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Return a text in one line with all markup escaped."""
    return SPECIAL.sub(r"\\\g<0>", TAG.sub("&lt;", ENTITY.sub("&amp;", one_line(text))))


def paragraph(text: str) -> str:
    """Return a text escaped for the beginning of a paragraph."""
    return BLOCK.sub(r"\\", escaped(text))


def _joined(legend: Sequence[str]) -> list[str]:
    return [paragraph(" ".join(legend))] if legend else []


def _grid(table: PrintedTable) -> str:
    head = [escaped(heading.joined) for heading in table.headings]
    body = [[_cell(cell) for cell in row.cells] for row in table.rows]
    widths = [max(3, *(len(row[place]) for row in (head, *body))) for place in range(len(head))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([_row(head, widths), f"| {' | '.join(rule)} |", *(_row(row, widths) for row in body)])


def _cell(cell: PrintedCell) -> str:
    text = escaped(cell.text)
    return f"**{text}**" if cell.best and text else text


def _row(texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = [text.rjust(width) for text, width in zip(texts[1:], widths[1:], strict=True)]
    return f"| {' | '.join([texts[0].ljust(widths[0]), *padded])} |"
