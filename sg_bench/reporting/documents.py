"""A table as it is printed, whatever in: texts, what is bold, and which records each cell stands on.

Texts are plain Unicode; markdown.py, latex.py and html.py escape them, each in its own way.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

DASH = "–"
TIE_MARK = "†"
"""Behind a mean that is not separable from the best of its column."""
LEAK_MARK = "★"
"""Behind a mean whose test data the method may have seen."""
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class PrintedCell:
    """One cell of a printed table."""

    text: str
    best: bool = False
    """Printed in bold."""
    place: str = ""
    """Where in the suite its number comes from, as "method/task"."""
    keys: tuple[str, ...] = ()
    """The ledger records that it stands on."""


@dataclass(frozen=True)
class Heading:
    """The head of one column."""

    text: str
    group: str = ""
    """What adjacent columns share, as their task; "" for a column that stands alone."""

    @property
    def joined(self) -> str:
        """Return the head in one line: "ncs · iou_bin"."""
        return " · ".join(part for part in (self.group, self.text) if part)


@dataclass(frozen=True)
class PrintedRow:
    """One line of a printed table, a cell a column."""

    entries: tuple[PrintedCell, ...]
    opens: bool = False
    """A rule stands above it: a new group of methods begins."""


@dataclass(frozen=True)
class PrintedTable:
    """One printed table; its first column names the lines."""

    title: str
    heads: tuple[Heading, ...]
    lines: tuple[PrintedRow, ...]
    notes: tuple[str, ...] = ()
    """What a reader must know before the first number."""
    footnotes: tuple[str, ...] = ()
    """Each begins with its number, a superscript."""
    legend: tuple[str, ...] = ()
    """Sentences that explain what stands in the cells."""


@dataclass(frozen=True)
class Document:
    """The tables of one file, and the same numbers at full precision as lines of a CSV file."""

    stem: str
    """The file's name without its ending."""
    title: str
    sheets: tuple[PrintedTable, ...]
    csv: str
    notes: tuple[str, ...] = ()
    legend: tuple[str, ...] = ()
    """Sentences that explain what stands in the cells of all its tables."""

    def under(self, notes: Sequence[str]) -> Document:
        """Return the same document with these notes above its own."""
        return replace(self, notes=(*map(one_line, notes), *self.notes))


class Footnotes:
    """Numbers the distinct remarks of a table in reading order."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def mark(self, remark: str) -> str:
        """Return the superscript number of a remark, a new one for a new remark."""
        return superscript(self._seen.setdefault(one_line(remark), len(self._seen) + 1))

    def lines(self) -> tuple[str, ...]:
        """Return "¹ remark" for each remark so far."""
        return tuple(f"{superscript(number)} {remark}" for remark, number in self._seen.items())


def superscript(number: int) -> str:
    """Return a number in superscript digits."""
    return str(number).translate(SUPERSCRIPTS)


def one_line(text: str) -> str:
    """Return a text without line breaks or repeated spaces."""
    return " ".join(text.split())


def signed(value: float, digits: int = 2, *, plus: bool = False) -> str:
    """Return a number with a true minus sign, never a negative nought; `plus` gives positive ones a sign too."""
    text = f"{round(value, digits) + 0.0:{'+' if plus else ''}.{digits}f}"
    return text.replace("-", "−")


def stable(value: float | None) -> float | None:
    """Return a computed number to 12 digits: more would differ from one machine's library to another's."""
    return None if value is None else float(f"{value:.12g}")


def csv_text(lines: Iterable[Iterable[object]]) -> str:
    """Return lines as CSV; None is an empty field, floats keep full precision."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def groups_of(heads: Sequence[Heading]) -> Iterator[tuple[str, int]]:
    """Yield (group, number of columns) for each run of adjacent heads of one group."""
    start = 0
    for index in range(1, len(heads) + 1):
        if index == len(heads) or not heads[index].group or heads[index].group != heads[start].group:
            yield heads[start].group, index - start
            start = index
