"""Printed tables as Markdown (GitHub's tables): legible as plain text too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sg_bench.reporting.documents import Document, PrintedCell, PrintedTable, one_line

SPECIAL = re.compile(r"[\\|*`~]|(?<!\w)_|_(?!\w)|(?<=\])\(")
ENTITY, TAG = re.compile(r"&(?=#?\w+;)"), re.compile(r"<(?=[A-Za-z/!?])")
BLOCK = re.compile(r"^(?=[#>+-])|(?<=^\d)(?=[.)])")
"""Where a paragraph would become a heading, a quotation or a list."""


def document(content: Document) -> str:
    """Return a document as Markdown; a document of one table has one heading."""
    alone = len(content.sheets) == 1
    blocks = [f"# {escaped(content.title)}", *map(paragraph, content.notes)]
    for sheet in content.sheets:
        blocks += _sheet(sheet, heading=[] if alone else [f"## {escaped(sheet.title)}"])
    blocks += _joined(content.legend)
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Return a text in which nothing is markup, in one line."""
    return SPECIAL.sub(r"\\\g<0>", TAG.sub("&lt;", ENTITY.sub("&amp;", one_line(text))))


def paragraph(text: str) -> str:
    """Return a text in which nothing is markup, its beginning included."""
    return BLOCK.sub(r"\\", escaped(text))


def _sheet(sheet: PrintedTable, heading: list[str]) -> list[str]:
    below = [*map(paragraph, sheet.footnotes), *_joined(sheet.legend)]
    return [*heading, *map(paragraph, sheet.notes), _grid(sheet), *below]


def _joined(legend: Sequence[str]) -> list[str]:
    return [paragraph(" ".join(legend))] if legend else []


def _grid(sheet: PrintedTable) -> str:
    head = [escaped(column.joined) for column in sheet.heads]
    body = [[_cell(entry) for entry in line.entries] for line in sheet.lines]
    widths = [max(3, *(len(line[place]) for line in (head, *body))) for place in range(len(head))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([_line(head, widths), f"| {' | '.join(rule)} |", *(_line(line, widths) for line in body)])


def _cell(entry: PrintedCell) -> str:
    text = escaped(entry.text)
    return f"**{text}**" if entry.best and text else text


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    scores = [text.rjust(width) for text, width in zip(texts[1:], widths[1:], strict=True)]
    return f"| {' | '.join([texts[0].ljust(widths[0]), *scores])} |"
