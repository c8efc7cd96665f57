"""Content of the page as plain data: the table, the problems of its cells, and its ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from sg_bench.reporting.documents import DASH, LEAK_MARK
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import Cell, MetricColumn, Records
from sg_bench.reporting.page.ranks import ColumnRanking, RankRange, ranking
from sg_bench.reporting.render import std_text
from sg_bench.reporting.tables import ScoreSummary, Table, printed_mean

MAX_REASON = 240
"""Characters of a reason in the table; the details of a cell have all of them."""


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
    """A column of the table."""

    column: MetricColumn
    ranking: ColumnRanking
    low: float
    high: float
    """Lowest and highest score of all its runs, fractions."""


@dataclass(frozen=True)
class PageCell:
    """One cell of the table: a method on a task, under one metric."""

    place: str
    """Row and column, as "3-0"."""
    method: str
    shown: PageColumn
    summary: ScoreSummary
    problems: tuple[CellProblem, ...]

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
        return DASH.join(str(place) for place in dict.fromkeys(self.rank or ()))

    @property
    def mean(self) -> str:
        """Return the mean in percent, or in the metric's unit."""
        return f"{printed_mean(self.summary):.2f}" if self.summary.n else DASH

    @property
    def std(self) -> str:
        """Return the standard deviation (ddof 1) in percentage points, or in the metric's unit."""
        return std_text(self.summary.std, self.summary.metric)

    @property
    def n(self) -> str:
        """Return the number of runs with a value, as "2/3" if some of the planned runs lack one."""
        return f"{self.summary.n}" if self.summary.complete else f"{self.summary.n}/{self.summary.planned}"

    @property
    def dots(self) -> list[float]:
        """Return the position of each run between the lowest and highest score of the column, in [2, 98]."""
        width = (self.shown.high - self.shown.low) or 1.0
        return [2 + 96 * (value - self.shown.low) / width for value in self.summary.values]

    @property
    def middle(self) -> float:
        """Return the mean of `dots`."""
        return fmean(self.dots)


@dataclass(frozen=True)
class PageContent:
    """The table of the page and its runs."""

    evidence: Evidence
    table: Table
    columns: tuple[PageColumn, ...]
    rows: tuple[tuple[str, tuple[PageCell, ...]], ...]
    runs: Mapping[tuple[str, str], Sequence[Cell]]
    """The planned cells of each method on each task."""

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Return each task with its number of columns."""
        return list(Counter(shown.column.task for shown in self.columns).items())

    @cached_property
    def counts(self) -> dict[str, int]:
        """Return the number of planned runs, and of runs in each state."""
        found = Counter(state_of(cell, self.evidence.records) for cells in self.runs.values() for cell in cells)
        states = ("done", "failed", "missing", "pending")
        return {"planned": found.total(), **{state: found[state] for state in states}}


def content_of(evidence: Evidence) -> PageContent:
    """Return the content of a page of `evidence`."""
    table, runs = evidence.table, _runs(evidence.cells)
    columns = {index: _shown(table, index) for index in table.printed}
    rows = []
    for number, row in enumerate(table.rows):
        entries = []
        for place, (index, shown) in enumerate(columns.items()):
            summary = row.summaries[index]
            problems = _problems(runs.get((row.method, shown.column.task), []), evidence.records, summary)
            entries.append(PageCell(f"{number}-{place}", row.method, shown, summary, tuple(problems)))
        rows.append((row.method, tuple(entries)))
    return PageContent(evidence, table, tuple(columns.values()), tuple(rows), runs)


def state_of(cell: Cell, records: Records) -> str:
    """Return done, failed, missing (its data are absent) or pending (no record yet)."""
    record = records.get(cell.key) if cell.key else None
    if record is not None:
        return "done" if record["status"] == "done" else "failed"
    return "missing" if cell.missing else "pending"


def _runs(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Return the cells by method and task; cells with equal keys are one run."""
    found: dict[tuple[str, str], dict[object, Cell]] = {}
    for cell in cells:
        name = cell.key or (cell.pretraining_seed, cell.fine_tuning_seed)
        found.setdefault((cell.method, cell.task), {}).setdefault(name, cell)
    return {place: list(runs.values()) for place, runs in found.items()}


def _shown(table: Table, index: int) -> PageColumn:
    values = [value for row in table.rows for value in row.summaries[index].values]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return PageColumn(table.columns[index], ranking(table, index), low, high)


def _problems(cells: Sequence[Cell], records: Records, summary: ScoreSummary) -> Iterator[CellProblem]:
    failed = [_error(records, cell) for cell in cells if state_of(cell, records) == "failed"]
    missing = [cell.missing or "" for cell in cells if state_of(cell, records) == "missing"]
    for kind, reasons in (("failed", failed), ("missing", missing)):
        if reasons:
            yield CellProblem(kind, f"{len(reasons)} {kind}", _cut("; ".join(dict.fromkeys(reasons))))
    if summary.leaks:
        yield CellProblem("leak", f"{LEAK_MARK} leak", _cut("; ".join(summary.leaks)))
    if summary.undefined:
        yield CellProblem(
            "undefined", f"{summary.undefined} undefined", "the run finished, but the metric has no value"
        )
    if summary.pending:
        yield CellProblem("pending", f"{summary.pending} not run", "no record in the ledger yet")


def _error(records: Records, cell: Cell) -> str:
    error = records[cell.key].get("error") or {}
    return f"{error.get('kind', 'unknown')}: {error.get('message', 'no message')}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"
