"""A table as text: Markdown for people, tidy CSV for programs, byte for byte the same for the same numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence

from sg_bench.reporting.tables import Column, Role, Row, Summary, Table, percent

DASH = "–"
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
PARITY = "papers' metric"


def heading(column: Column, separator: str = " · ") -> str:
    """Return "ncs · iou_bin": a column's task and metric, and whether it is there to be compared with the papers."""
    name = f"{column.task}{separator}{column.metric}" if column.metric else column.task
    return f"{name} ({PARITY})" if column.role == "parity" else name


def cell_text(summary: Summary, table: Table) -> str:
    """Return "83.12 ± 1.05", with all that keeps a cell from being complete in brackets behind it."""
    if not summary.planned:
        return ""
    if len(summary.missing) == summary.planned:
        return DASH + _marks(summary, table)
    number = f"{percent(summary):.2f} ± {_std(summary)}" if summary.n else DASH
    remarks = ", ".join(_remarks(summary, table))
    return f"{number} ({remarks})" if remarks else number


def is_best(summary: Summary, table: Table, column: int) -> bool:
    """Return whether a complete cell has, as printed, the highest mean of its column."""
    return summary.complete and percent(summary) == table.best(column)


def footnotes(table: Table) -> list[str]:
    """Return "¹ reason" for each reason of missing data."""
    return [f"{_superscript(index)} {_one_line(reason)}" for index, reason in enumerate(table.reasons, start=1)]


def markdown(title: str, table: Table, notes: Sequence[str]) -> str:
    """Return the printed table with a line above on what it was made of, footnotes and a legend."""
    above = [f"# {_one_line(title)}", *(_one_line(note) for note in notes)]
    blocks = [*above, _grid(table), *footnotes(table), " ".join(_legend(table))]
    return "\n\n".join(blocks) + "\n"


def main_csv(table: Table) -> str:
    """Return one line a (method, task, metric): fractions at full precision, values in the plan's order."""
    lines = [
        _main_line(row.method, column, summary)
        for row in table.rows
        for column, summary in zip(table.columns, row.summaries, strict=True)
        if summary.planned
    ]
    header = "method,task,metric,headline,mean,std,n,planned,failed,missing,values"
    return _csv([header.split(","), *lines])


def scores_csv(table: Table) -> str:
    """Return one line a run that ended well, with each of its metrics."""
    metrics = sorted({name for _, record in table.done for name in record["metrics"]})
    lines = [
        [cell.key, cell.method, cell.task, cell.pretraining_seed, cell.fine_tuning_seed]
        + [record["metrics"].get(name) for name in metrics]
        for cell, record in table.done
    ]
    return _csv([["key", "method", "task", "pretraining_seed", "fine_tuning_seed", *metrics], *lines])


def _std(summary: Summary) -> str:
    return DASH if summary.std is None else f"{100 * summary.std:.2f}"


def _remarks(summary: Summary, table: Table) -> Iterable[str]:
    if summary.n and not summary.complete:
        yield f"n={summary.n}/{summary.planned}"
    elif summary.n and _common_n(table) is None:
        yield f"n={summary.n}"
    yield from (f"{count} failed: {kind}" for kind, count in summary.failed)
    if summary.undefined:
        yield f"{summary.undefined} undefined"
    if summary.missing:
        yield f"{len(summary.missing)} missing{_marks(summary, table)}"
    if summary.pending:
        yield f"{summary.pending} not run"


def _marks(summary: Summary, table: Table) -> str:
    numbers = sorted({table.reasons.index(reason) + 1 for reason in summary.missing})
    return " ".join(_superscript(number) for number in numbers)


def _superscript(number: int) -> str:
    return str(number).translate(SUPERSCRIPTS)


def _common_n(table: Table) -> int | None:
    """Return the number of runs planned for every cell, or None where it differs."""
    planned = {summary.planned for summary in _printed(table) if summary.planned}
    return planned.pop() if len(planned) == 1 else None


def _printed(table: Table) -> list[Summary]:
    return [row.summaries[index] for row in table.rows for index in table.printed]


def _grid(table: Table) -> str:
    head = ["method", *(_escaped(heading(table.columns[index])) for index in table.printed)]
    body = [[_escaped(row.method), *(_marked(table, row, index) for index in table.printed)] for row in table.rows]
    widths = [max(3, *(len(line[place]) for line in (head, *body))) for place in range(len(head))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([_line(head, widths), f"| {' | '.join(rule)} |", *(_line(line, widths) for line in body)])


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    scores = [text.rjust(width) for text, width in zip(texts[1:], widths[1:], strict=True)]
    return f"| {' | '.join([texts[0].ljust(widths[0]), *scores])} |"


def _marked(table: Table, row: Row, column: int) -> str:
    text = _escaped(cell_text(row.summaries[column], table))
    return f"**{text}**" if is_best(row.summaries[column], table, column) else text


def _legend(table: Table) -> list[str]:
    summaries, common = _printed(table), _common_n(table)
    runs = f"n = {common} runs a cell" if common else "n runs a cell, n shown in each"
    roles: set[Role] = {table.columns[index].role for index in table.printed}
    sentences: list[tuple[object, str]] = [
        (True, f"Mean ± standard deviation (ddof 1) in percent over {runs} (pretraining seeds × fine-tuning seeds)."),
        (
            True,
            "Higher is better; bold: the best mean of a column among complete cells, with all that equal it.",
        ),
        (_any(summaries, lambda cell: cell.n == 1), "± –: one run has no standard deviation."),
        (_any(summaries, lambda cell: 0 < cell.n < cell.planned), "n=a/b: a of b planned runs have a value."),
        (_any(summaries, lambda cell: cell.failed), "failed: runs that ended in an error, by what was to blame."),
        (_any(summaries, lambda cell: cell.undefined), "undefined: the run ended well, the metric has no value."),
        (_any(summaries, lambda cell: cell.missing), "Numbered: data absent, for the reason given."),
        (_any(summaries, lambda cell: cell.pending), "not run: no record in the ledger yet."),
        (_any(summaries, lambda cell: not cell.planned), "Blank: not part of the suite."),
        ("parity" in roles, f"{PARITY.capitalize()}: the only column to set beside published numbers."),
        (True, "No significance test was made."),
    ]
    return [sentence for applies, sentence in sentences if applies]


def _any(summaries: Sequence[Summary], holds: Callable[[Summary], object]) -> bool:
    return any(holds(summary) for summary in summaries)


def _main_line(method: str, column: Column, summary: Summary) -> list[object]:
    failed = sum(count for _, count in summary.failed)
    values = ";".join(repr(value) for value in summary.values)
    headline = "yes" if column.role == "headline" else "no"
    numbers = [summary.mean, summary.std, summary.n, summary.planned, failed, len(summary.missing)]
    return [method, column.task, column.metric, headline, *numbers, values]


def _csv(lines: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return _one_line(text).replace("|", "\\|")
