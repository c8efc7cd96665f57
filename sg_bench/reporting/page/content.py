"""Content of the page as plain data: the main table with the state of its cells, and the planned runs behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sg_bench.reporting.console import shared_variant
from sg_bench.reporting.documents import LEAK_MARK, TIE_MARK
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import Cell, MetricColumn, Records, distinct_cells
from sg_bench.reporting.page.ranks import ColumnRanking, RankRange, ranking
from sg_bench.reporting.render import ScoreTexts
from sg_bench.reporting.tables import ScoreSummary, Table
from sg_bench.tasks import parse_reference

MAX_REASON = 240
"""Characters of a reason in the table; the details of a cell have all of them."""
MOST_METHODS = 6
"""With at most so many methods the table has a column for each; else it has a row for each."""
MOST_COLUMNS = 8
"""Metrics in a row of a table with a row for each method; further ones are in a table of their own."""


@dataclass(frozen=True)
class CellProblem:
    """Why a cell of the table is incomplete or doubtful."""

    kind: str
    """failed, missing, leak, undefined or pending."""
    text: str
    """As "2 failed"."""
    reason: str


@dataclass(frozen=True)
class PageColumn:
    """A metric of a task."""

    index: int
    """In the table."""
    number: int
    """On the page."""
    column: MetricColumn
    name: str
    """The task without the variant that all tasks share."""
    ranking: ColumnRanking


@dataclass(frozen=True)
class PageCell(ScoreTexts):
    """A method on a task, under one metric."""

    row: int
    method: str
    shown: PageColumn
    summary: ScoreSummary
    problems: tuple[CellProblem, ...]

    @property
    def place(self) -> str:
        """Return the numbers of its method and metric, as "3-0"."""
        return f"{self.row}-{self.shown.number}"

    @property
    def planned(self) -> bool:
        """Whether the suite contains the cell."""
        return self.summary.planned > 0

    @property
    def standing(self) -> str | None:
        """Return best, inseparable (from the best) or separable; None without a value or a best."""
        return self.shown.ranking.ties.word(self.method)

    @property
    def rank(self) -> RankRange | None:
        """Return the ranks that it shares with methods not separable from the best of them."""
        return self.shown.ranking.ranks.get(self.method)

    @property
    def rank_text(self) -> str:
        """Return "2", or "1–3" for a shared rank."""
        return self.shown.ranking.text(self.method)

    @property
    def marks(self) -> str:
        """Return the marks after the mean."""
        return (TIE_MARK if self.standing == "inseparable" else "") + (LEAK_MARK if self.summary.leaks else "")


@dataclass(frozen=True)
class PageContent:
    """The table of the page and its runs."""

    evidence: Evidence
    table: Table
    columns: tuple[PageColumn, ...]
    rows: tuple[tuple[str, tuple[PageCell, ...]], ...]
    runs: Mapping[tuple[str, str], Sequence[Cell]]
    """The planned cells of each method on each task."""
    shared: str
    """The variant that all tasks share, as "data=phantom"."""

    @property
    def transposed(self) -> bool:
        """Return whether the table has a row for each metric, and a column for each method."""
        return len(self.rows) <= MOST_METHODS

    @property
    def blocks(self) -> list[tuple[PageColumn, ...]]:
        """Return the metrics of each table with a row for each method; those of a task stay together."""
        blocks: list[tuple[PageColumn, ...]] = [()]
        for task in dict.fromkeys(shown.column.task for shown in self.columns):
            group = tuple(shown for shown in self.columns if shown.column.task == task)
            if blocks[-1] and len(blocks[-1]) + len(group) > MOST_COLUMNS:
                blocks.append(())
            blocks[-1] += group
        return blocks

    @property
    def common_n(self) -> int | None:
        """Return the number of runs of every cell that has a value, None if cells differ or are incomplete."""
        found = {cell.n for _, cells in self.rows for cell in cells if cell.summary.n}
        return int(next(iter(found))) if len(found) == 1 and next(iter(found)).isdigit() else None

    @cached_property
    def counts(self) -> dict[str, int]:
        """Return the number of planned runs, and of runs in each state."""
        found = Counter(state_of(cell, self.evidence.records) for cells in self.runs.values() for cell in cells)
        states = ("done", "failed", "missing", "pending")
        return {"planned": found.total(), **{state: found[state] for state in states}}


def content_of(evidence: Evidence) -> PageContent:
    """Return the content of a page of `evidence`."""
    table = evidence.table
    runs: dict[tuple[str, str], list[Cell]] = {}
    for cell in distinct_cells(evidence.cells):
        runs.setdefault((cell.method, cell.task), []).append(cell)
    shared = shared_variant(column.task for column in table.columns)
    columns = tuple(
        PageColumn(
            index, number, table.columns[index], _short(table.columns[index].task, shared), ranking(table, index)
        )
        for number, index in enumerate(table.printed)
    )
    rows = []
    for number, row in enumerate(table.rows):
        cells = []
        for shown in columns:
            planned, summary = runs.get((row.method, shown.column.task), []), row.summaries[shown.index]
            problems = tuple(_problems(planned, evidence.records, summary))
            cells.append(PageCell(number, row.method, shown, summary, problems))
        rows.append((row.method, tuple(cells)))
    variant = ", ".join(f"{axis}={value}" for axis, value in shared.items())
    return PageContent(evidence, table, columns, tuple(rows), runs, variant)


def state_of(cell: Cell, records: Records) -> str:
    """Return done, failed, missing (its data are absent) or pending (no record yet)."""
    record = records.get(cell.key) if cell.key else None
    if record is not None:
        return "done" if record["status"] == "done" else "failed"
    return "missing" if cell.missing else "pending"


def _short(task: str, shared: Mapping[str, str]) -> str:
    """Return a task's label without the choices that all tasks share."""
    if not shared:
        return task
    name, choices = parse_reference(task)
    own = ",".join(f"{axis}={value}" for axis, value in choices.items() if axis not in shared)
    return f"{name}[{own}]" if own else name


def _problems(cells: Sequence[Cell], records: Records, summary: ScoreSummary) -> Iterator[CellProblem]:
    failed = [_error(records, cell) for cell in cells if state_of(cell, records) == "failed"]
    missing = [cell.missing or "" for cell in cells if state_of(cell, records) == "missing"]
    for kind, reasons in (("failed", failed), ("missing", missing)):
        if reasons:
            yield CellProblem(kind, f"{len(reasons)} {kind}", _cut("; ".join(dict.fromkeys(reasons))))
    if summary.leaks:
        yield CellProblem("leak", f"{LEAK_MARK} leak", _cut("; ".join(summary.leaks)))
    if summary.undefined:
        reason = "the run finished, but the metric has no value"
        yield CellProblem("undefined", f"{summary.undefined} undefined", reason)
    if summary.pending:
        yield CellProblem("pending", f"{summary.pending} not run", "no record in the ledger yet")


def _error(records: Records, cell: Cell) -> str:
    error = records[cell.key].get("error") or {}
    return f"{error.get('kind', 'unknown')}: {error.get('message', 'no message')}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"
