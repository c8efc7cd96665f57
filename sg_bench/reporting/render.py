"""The main table as a document: the texts of its cells, its legend and its CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import pstdev

from sg_bench.evaluation.metrics import higher_is_better, metric_of, scale_of, unit_of
from sg_bench.reporting import markdown as as_markdown
from sg_bench.reporting.documents import (
    DASH,
    LEAK_MARK,
    TIE_MARK,
    Document,
    Heading,
    PrintedCell,
    PrintedTable,
    csv_text,
    one_line,
    printed_row,
    stable,
    superscript,
)
from sg_bench.reporting.environments import environment_notes
from sg_bench.reporting.frame import MetricColumn, MetricRole
from sg_bench.reporting.intervals import score_interval
from sg_bench.reporting.networks import network_notes, weights_notes
from sg_bench.reporting.separation import Ties, ties
from sg_bench.reporting.tables import MethodRow, ScoreSummary, Table, printed_mean
from sg_bench.statistics.ties import TIE_TEST

PARITY = "papers' metric"
LOWER = "lower is better"
MAIN_COLUMNS = (
    *("method", "task", "metric", "headline", "mean", "std", "n", "planned", "failed", "missing", "values"),
    *("unit", "units", "low", "high", "mark", "leak"),
)
ALPHA = "5 %"


def column_heading(column: MetricColumn) -> Heading:
    """Return the heading of a column: task and metric, with what is unusual of it.

    That is the metric of the papers, another unit than percent, and that less is better.
    """
    if not column.metric:
        return Heading(column.task)
    unit = unit_of(column.metric)
    notes = [
        *([PARITY] if column.role == "parity" else []),
        *([unit] if unit not in ("%", "") else []),
        *([] if higher_is_better(column.metric) else [LOWER]),
    ]
    return Heading(f"{column.metric} ({', '.join(notes)})" if notes else column.metric, column.task)


def cell_text(summary: ScoreSummary, table: Table, marks: str = "") -> str:
    """Return "83.12 ± 1.05" with its marks, followed in brackets by what a cell lacks."""
    if not summary.planned:
        return ""
    if len(summary.missing) == summary.planned:
        return DASH + _reasons(summary, table)
    spread = std_text(summary.std, summary.metric)
    number = f"{printed_mean(summary):.2f} ± {spread}{marks}" if summary.n else DASH
    remarks = ", ".join(_remarks(summary, table))
    return f"{number} ({remarks})" if remarks else number


def std_text(std: float | None, metric: str = "") -> str:
    """Return a standard deviation in percent, or in the metric's unit, or a dash for None."""
    return DASH if std is None else f"{scale_of(metric) * std:.2f}"


class ScoreTexts:
    """The texts of a summary that the page and leaderboards print; a dataclass with a field `summary` inherits it."""

    summary: ScoreSummary

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


def unit_sentence(metrics: Iterable[str]) -> str:
    """Return in which units and directions metrics are printed that are no percentages, or of which less is better."""
    names = [name for name in dict.fromkeys(metrics) if name]
    units = {name: unit_of(name) for name in names if unit_of(name) != "%"}
    words = {name: f"in {unit}" if unit else "in the values' own unit" for name, unit in units.items()}
    words |= {name: "as a number" for name in words if name == "r2"}
    parts = [f"{name} {word}" for name, word in words.items()]
    lower = [name for name in names if not higher_is_better(name)]
    sentences = [f"Not in percent: {', '.join(parts)}."] if parts else []
    sentences += [f"Lower is better of {', '.join(lower)}."] if lower else []
    return " ".join(sentences)


def marks(row: MethodRow, column: int, tied: Ties) -> str:
    """Return the marks after a mean: not significantly different from the best, test data possibly seen."""
    tie = TIE_MARK if row.method in tied.inseparable else ""
    return tie + (LEAK_MARK if row.summaries[column].leaks else "")


def footnotes(table: Table) -> list[str]:
    """Return "¹ reason" for each reason of missing data, each leak, and software or devices that differ."""
    absent = [f"{superscript(index)} {one_line(reason)}" for index, reason in enumerate(table.reasons, start=1)]
    leaks = dict.fromkeys(leak for summary in _printed(table) for leak in summary.leaks)
    return [
        *absent,
        *(f"{LEAK_MARK} {one_line(leak)}" for leak in leaks),
        *network_notes(table),
        *weights_notes(table),
        *environment_notes(table),
    ]


def main_document(title: str, table: Table, notes: Sequence[str]) -> Document:
    """Return the main table as a document, with `notes` above it."""
    sheet = main_sheet(title, table)
    return Document("main", title, (sheet,), main_csv(table), tuple(one_line(note) for note in notes))


def main_sheet(title: str, table: Table, heading: Callable[[MetricColumn], Heading] = column_heading) -> PrintedTable:
    """Return the printed columns of a table, with footnotes and legend; `heading` names a column."""
    tied = {index: ties(table, index) for index in table.printed}
    return PrintedTable(
        title=title,
        headings=(Heading("method"), *(heading(table.columns[index]) for index in table.printed)),
        rows=tuple(
            printed_row(row.method, *(table_cell(table, row, index, each) for index, each in tied.items()))
            for row in table.rows
        ),
        footnotes=tuple(footnotes(table)),
        legend=tuple(legend(table, list(tied.values()))),
    )


def table_cell(table: Table, row: MethodRow, column: int, tied: Ties) -> PrintedCell:
    """Return one cell of a table."""
    summary = row.summaries[column]
    text = cell_text(summary, table, marks(row, column, tied))
    place = f"{row.method}/{table.columns[column].task}"
    return PrintedCell(text, row.method in tied.best, place, summary.keys)


def markdown(title: str, table: Table, notes: Sequence[str]) -> str:
    """Return the main table as Markdown, with `notes` above it."""
    return as_markdown.document(main_document(title, table, notes))


def main_csv(table: Table) -> str:
    """Return a line for each (method, task, metric): fractions at full precision, values in the order of the plan.

    `low` and `high` are the ends of the 95 % interval (`score_interval`) of the mean over `units` independent units of
    the kind `unit`.
    """
    tied = [ties(table, index) if column.role != "other" else None for index, column in enumerate(table.columns)]
    lines = (
        {**vars(column), "headline": "yes" if column.role == "headline" else "no", **score_fields(row, index, each)}
        for row in table.rows
        for index, (column, each) in enumerate(zip(table.columns, tied, strict=True))
        if row.summaries[index].planned
    )
    return csv_text(MAIN_COLUMNS, lines)


def score_fields(row: MethodRow, index: int, tied: Ties | None) -> dict[str, object]:
    """Return the numbers of one cell of a table, by the names of columns in CSV files."""
    summary = row.summaries[index]
    interval = score_interval(summary.units.values, summary.metric)
    return {
        "method": row.method,
        "mean": summary.mean,
        "std": summary.std,
        "std_ddof0": pstdev(summary.values) if summary.n else None,
        "n": summary.n,
        "planned": summary.planned,
        "failed": sum(count for _, count in summary.failed),
        "missing": len(summary.missing),
        "values": ";".join(map(repr, summary.values)),
        "unit": summary.units.kind if summary.n else None,
        "units": summary.units.n if summary.n else None,
        "low": stable(interval.low) if interval else None,
        "high": stable(interval.high) if interval else None,
        "mark": tied.word(row.method) if tied else None,
        "leak": "; ".join(summary.leaks) or None,
    }


def scores_csv(table: Table) -> str:
    """Return a line for each finished run, with all of its metrics."""
    metrics = sorted({name for _, record in table.done for name in record["metrics"]})
    identity = ("key", "method", "task", "pretraining_seed", "fine_tuning_seed")
    lines = ({**record["metrics"], **{name: getattr(cell, name) for name in identity}} for cell, record in table.done)
    return csv_text([*identity, *metrics], lines)


def legend(table: Table, tied: Sequence[Ties]) -> list[str]:
    """Return the sentences that explain the cells of a table, leaving out those that do not apply."""
    summaries, common = _printed(table), _common_n(table)
    runs = f"n = {common} runs per cell" if common else "n runs per cell, n given in each"
    roles: set[MetricRole] = {table.columns[index].role for index in table.printed}
    sentences: list[tuple[object, str]] = [
        (True, f"Mean ± standard deviation (ddof 1) in percent over {runs} (pretraining seeds × fine-tuning seeds)."),
        (
            True,
            "Higher is better; bold: the best mean of a column among complete cells, including ties.",
        ),
        *((True, text) for text in [unit_sentence(table.columns[index].metric for index in table.printed)] if text),
        (_any(summaries, lambda cell: cell.n == 1), "± –: the standard deviation of a single run is undefined."),
        (_any(summaries, lambda cell: 0 < cell.n < cell.planned), "n=a/b: a of b planned runs have a value."),
        (_any(summaries, lambda cell: cell.failed), "failed: runs that ended in an error, by its cause."),
        (_any(summaries, lambda cell: cell.undefined), "undefined: finished runs whose metric has no value."),
        (_any(summaries, lambda cell: cell.missing), "Numbered: data missing, for the reason given."),
        (_any(summaries, lambda cell: cell.pending), "not run: no record in the ledger."),
        (_any(summaries, lambda cell: not cell.planned), "Blank: not part of the suite."),
        (_any(summaries, lambda cell: cell.leaks), f"{LEAK_MARK}: the method may have seen the test data."),
        *((True, sentence) for sentence in secondary_sentences(table)),
        (
            "parity" in roles,
            f"{PARITY.capitalize()}: the only column of its task to compare with published numbers.",
        ),
        *((True, sentence) for sentence in (*tie_sentences(tied), *unit_sentences(table))),
    ]
    return [sentence for applies, sentence in sentences if applies]


def secondary_sentences(table: Table) -> Iterator[str]:
    """Yield the definition of each secondary metric."""
    secondary = {
        table.columns[index].metric: None for index in table.printed if table.columns[index].role == "secondary"
    }
    for name in secondary:
        metric = metric_of(name)
        definition = f"{metric.definition}. " if metric else ""
        yield f"{name}: {definition}Without it the headline metric would be misleading."


def tie_sentences(tied: Sequence[Ties]) -> Iterator[str]:
    """Yield the meaning of the tie mark, and why no difference could be tested."""
    if any(column.inseparable for column in tied):
        where = "; see significance" if any(column.best and not column.reason for column in tied) else ""
        yield f"{TIE_MARK}: not separable from the best ({TIE_TEST}, {ALPHA}{where})."
    reasons = dict.fromkeys(column.reason for column in tied if column.reason)
    where = "" if all(column.reason for column in tied if column.best) else " in some columns"
    yield from (f"No differences were tested{where} ({reason})." for reason in reasons)


def unit_sentences(table: Table) -> Iterator[str]:
    """Yield what tests and intervals count as an independent unit, and which methods have one pretraining only."""
    kinds: dict[str, set[str]] = {}
    for row in table.rows:
        for summary in (row.summaries[index] for index in table.printed):
            if summary.n:
                kinds.setdefault(summary.units.kind, set()).add(row.method)
    if "pretraining" in kinds:
        yield "Units of tests and intervals are pretrainings, each the mean of its runs; n of a test is their number."
    if "fine-tuning" in kinds:
        only = ", ".join(row.method for row in table.rows if row.method in kinds["fine-tuning"])
        subject = f"One pretraining in some cells of {only}" if "pretraining" in kinds else "One pretraining per method"
        yield f"{subject}: these results hold for this checkpoint only."


def _remarks(summary: ScoreSummary, table: Table) -> Iterable[str]:
    if summary.n and not summary.complete:
        yield f"n={summary.n}/{summary.planned}"
    elif summary.n and _common_n(table) is None:
        yield f"n={summary.n}"
    yield from (f"{count} failed: {kind}" for kind, count in summary.failed)
    if summary.undefined:
        yield f"{summary.undefined} undefined"
    if summary.missing:
        yield f"{len(summary.missing)} missing{_reasons(summary, table)}"
    if summary.pending:
        yield f"{summary.pending} not run"


def _reasons(summary: ScoreSummary, table: Table) -> str:
    """Return the numbers of the footnotes with the reasons for missing data."""
    numbers = sorted({table.reasons.index(reason) + 1 for reason in summary.missing})
    return " ".join(map(superscript, numbers))


def _common_n(table: Table) -> int | None:
    """Return the number of runs planned for every cell, or None if cells differ."""
    planned = {summary.planned for summary in _printed(table) if summary.planned}
    return planned.pop() if len(planned) == 1 else None


def _printed(table: Table) -> list[ScoreSummary]:
    return [row.summaries[index] for row in table.rows for index in table.printed]


def _any(summaries: Sequence[ScoreSummary], holds: Callable[[ScoreSummary], object]) -> bool:
    return any(holds(summary) for summary in summaries)
