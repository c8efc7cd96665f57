"""Printed tables independent of their format: the texts, bold type, and the ledger records behind each cell.

Texts are plain Unicode; markdown.py, latex.py and html.py escape them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

DASH = "–"
TIE_MARK = "†"
"""Follows a mean that is not significantly different from the best of its column."""
LEAK_MARK = "★"
"""Follows a mean whose test data the method may have seen in pretraining."""
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class PrintedCell:
    """One cell of a printed table."""

    text: str
    best: bool = False
    """Printed in bold."""
    place: str = ""
    """Origin of its number, as "method/task"."""
    keys: tuple[str, ...] = ()
    """Keys of the ledger records that its number was computed from."""


@dataclass(frozen=True)
class Heading:
    """The heading of one column."""

    text: str
    group: str = ""
    """Heading shared by adjacent columns, such as their task; "" for none."""

    @property
    def joined(self) -> str:
        """Return the heading in one line: "ncs · iou_bin"."""
        return " · ".join(part for part in (self.group, self.text) if part)


@dataclass(frozen=True)
class PrintedRow:
    """One row of a printed table, with one cell for each column."""

    cells: tuple[PrintedCell, ...]
    new_group: bool = False
    """The first row of a group of methods: a rule is drawn above it."""


@dataclass(frozen=True)
class PrintedTable:
    """One printed table; its first column names the rows."""

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...] = ()
    """Printed above the table."""
    footnotes: tuple[str, ...] = ()
    """Printed below the table; numbered ones begin with their superscript."""
    legend: tuple[str, ...] = ()
    """Sentences that explain the cells."""


@dataclass(frozen=True, repr=False)
class Document:
    """The tables of one file, and the same numbers at full precision as CSV; a notebook shows them as tables."""

    stem: str
    """Name of the file without its suffix."""
    title: str
    tables: tuple[PrintedTable, ...]
    csv: str
    notes: tuple[str, ...] = ()
    legend: tuple[str, ...] = ()
    """Sentences that explain the cells of all its tables."""
    blank: bool = False
    """Whether its tables show nothing that other tables do not, so that a report leaves it out."""

    def with_notes(self, notes: Sequence[str]) -> Document:
        """Return the document with these notes before its own."""
        return replace(self, notes=(*map(one_line, notes), *self.notes))

    def markdown(self) -> str:
        """Return the document as Markdown."""
        from sg_bench.reporting import markdown

        return markdown.document(self)

    def latex(self) -> str:
        """Return the document as LaTeX."""
        from sg_bench.reporting import latex

        return latex.document(self)

    def html(self) -> str:
        """Return the document as HTML without style or script."""
        from sg_bench.reporting import html

        return html.document(self)

    def __repr__(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        return self.html()


class Footnotes:
    """The numbered footnotes of a table; equal texts share a number."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """Return the superscript number of a footnote, which is added if it is new."""
        return superscript(self._seen.setdefault(one_line(text), len(self._seen) + 1))

    def lines(self) -> tuple[str, ...]:
        """Return "¹ text" for each footnote so far."""
        return tuple(f"{superscript(number)} {text}" for text, number in self._seen.items())


def superscript(number: int) -> str:
    """Return a number in superscript digits."""
    return str(number).translate(SUPERSCRIPTS)


def one_line(text: str) -> str:
    """Return a text without line breaks or repeated spaces."""
    return " ".join(text.split())


def signed(value: float, digits: int = 2, *, plus: bool = False) -> str:
    """Return a number with a typographic minus sign and no negative zero; `plus` adds a sign to positive ones."""
    text = f"{round(value, digits) + 0.0:{'+' if plus else ''}.{digits}f}"
    return text.replace("-", "−")


def stable(value: float | None) -> float | None:
    """Return a computed number rounded to 12 digits, as further ones depend on the machine's libraries."""
    return None if value is None else float(f"{value:.12g}")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return some columns of rows as CSV; what is absent or None is an empty field, floats keep full precision."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def printed_row(*cells: PrintedCell | str, new_group: bool = False) -> PrintedRow:
    """Return a row of cells, of which those without a number of their own may be texts."""
    return PrintedRow(tuple(PrintedCell(each) if isinstance(each, str) else each for each in cells), new_group)


def headings(*texts: str, group: str = "") -> tuple[Heading, ...]:
    """Return the headings of some columns that share a group."""
    return tuple(Heading(text, group) for text in texts)


def groups_of(headings: Sequence[Heading]) -> Iterator[tuple[str, int]]:
    """Yield (group, number of columns) for each series of adjacent headings of one group."""
    start = 0
    for index in range(1, len(headings) + 1):
        if index == len(headings) or not headings[index].group or headings[index].group != headings[start].group:
            yield headings[start].group, index - start
            start = index
