"""The papers' five comparisons: measured and published scores side by side.

Published scores follow the column of the papers' metric, or of the headline metric if a task has only that; there our
standard deviation is given with ddof 0 too, since the papers do not state theirs. Notes above the table give the
reasons for which measured and published scores are not comparable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import pstdev

from sg_bench.registry import METHODS
from sg_bench.reporting.compare import compare_with_published
from sg_bench.reporting.documents import (
    LEAK_MARK,
    Document,
    Footnotes,
    Heading,
    PrintedCell,
    PrintedRow,
    PrintedTable,
    csv_text,
    printed_row,
)
from sg_bench.reporting.environments import environment_notes
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import MetricColumn
from sg_bench.reporting.pair_tables import pair_document
from sg_bench.reporting.published import (
    ComparisonRow,
    PaperComparison,
    load_published,
    published_task,
    published_text,
    scores_to_compare,
)
from sg_bench.reporting.published import PublishedScore as Score
from sg_bench.reporting.render import cell_text, column_heading, legend, marks, score_fields, std_text
from sg_bench.reporting.separation import Ties, ties
from sg_bench.reporting.tables import MethodRow, Table
from sg_bench.tasks import fine_tunes_all, parse_reference

NOT_RUN = "not run"
UNRESOLVED = "It is not resolved which metric was printed: shown, not compared."
NOTHING = "No results of this comparison yet; only published numbers are shown."
MARKS = "≈: read from a figure of the publication; ?: published, but not in any source that could be read."
CSV_COLUMNS = (
    *("comparison", "method", "label", "task", "metric", "role", "mean", "std", "std_ddof0", "n", "planned", "failed"),
    *("low", "high", "mark", "leak", "not_run", "published", "published_spread", "published_status"),
    *("published_metric", "published_label", "publication"),
)


@dataclass(frozen=True)
class ComparisonColumn:
    """One column of a comparison."""

    task: str
    """Name of the task in the comparison."""
    label: str
    """Label of the task in the suite, with its variant."""
    index: int | None = None
    """Index of the measured column in the narrowed table; None: the suite does not have the task."""
    published: bool = False
    """Whether the column has the published scores."""
    with_published: bool = False
    """Whether the published scores are compared with this column."""


@dataclass(frozen=True)
class MeasuredComparison:
    """One comparison with the results of the suite."""

    comparison: PaperComparison
    table: Table
    """The suite's main table, narrowed to the methods and tasks of the comparison."""
    labels: Mapping[str, list[str]]
    """The suite's labels of each registered method."""

    @cached_property
    def scores(self) -> dict[tuple[str, str], Score]:
        """Published scores by (method, task)."""
        return {(str(score.method), str(score.task)): score for score in scores_to_compare(self.comparison)}

    @cached_property
    def ties(self) -> list[Ties]:
        """The ties of each measured column."""
        return [ties(self.table, index) for index in range(len(self.table.columns))]

    @cached_property
    def rows(self) -> list[tuple[ComparisonRow, MethodRow | None]]:
        """Each row of the comparison with the suite's row of that method, if any."""
        by_label = {row.method: row for row in self.table.rows}
        return [
            (row, by_label[label] if label else None)
            for row in self.comparison.rows
            for label in self.labels.get(row.method) or [""]
        ]

    @cached_property
    def places(self) -> list[ComparisonColumn]:
        """The columns: for each task the measured ones, then the published one."""
        return [place for task in self.comparison.tasks for place in self._of_task(task)]

    def _of_task(self, task: str) -> Iterator[ComparisonColumn]:
        found = {c.task: None for c in self.table.columns if base_name(c.task) == task}
        for label in found:
            own = [index for index, column in enumerate(self.table.columns) if column.task == label]
            papers = next((index for index in own if self.table.columns[index].role == "parity"), own[0])
            for index in own:
                yield ComparisonColumn(task, label, index, with_published=index == papers)
            yield ComparisonColumn(task, label, published=True)
        if not found:
            yield ComparisonColumn(task, task)
            yield ComparisonColumn(task, task, published=True)


def compared(comparison: PaperComparison, table: Table, names: Mapping[str, str]) -> MeasuredComparison:
    """Return a comparison with the results in `table`, the suite's main table.

    Args:
        comparison: rows are registered methods, tasks are cards' names.
        table: the main table; its rows are labels, its tasks have variants.
        names: the registered method of each label.
    """
    labels: dict[str, list[str]] = {}
    for row in table.rows:
        labels.setdefault(names.get(row.method, row.method), []).append(row.method)
    wanted = {label for method in comparison.methods for label in labels.get(method, [])}
    rows = [place for place, row in enumerate(table.rows) if row.method in wanted]
    columns = [index for index in table.printed if _belongs(table.columns[index], comparison)]
    return MeasuredComparison(comparison, table.select(rows, columns), labels)


def comparison_documents(comparison: PaperComparison, table: Table, names: Mapping[str, str]) -> list[Document]:
    """Return the document of one of the papers' comparisons, and that of its pairs if it has any.

    Arguments as `compared`.
    """
    found = compared(comparison, table, names)
    document = Document(f"comparison-{comparison.name}", comparison.title, (_sheet(found),), _csv(found))
    pairs = [pair_document(comparison, found.table, found.labels)] if comparison.pairs else []
    return [document, *pairs]


def mostly_planned(comparison: PaperComparison, table: Table, names: Mapping[str, str]) -> bool:
    """Return whether a suite has more than half of a comparison's cells, and scores of two of its methods.

    Arguments as `compared`.
    """
    found = compared(comparison, table, names).table
    cells = [(names.get(row.method, row.method), base_name(column.task), cell)
             for row in found.rows for column, cell in zip(found.columns, row.summaries, strict=True)]  # fmt: skip
    planned = {(method, task) for method, task, cell in cells if cell.planned}
    scored = {method for method, _, cell in cells if cell.n}
    return len(scored) > 1 and 2 * len(planned) > len(comparison.rows) * len(comparison.tasks)


def base_name(task: str) -> str:
    """Return the name of a task in publications: "ncs" for "ncs[data=phantom]"; slice-wise tasks are separate."""
    name, choices = parse_reference(task)
    return published_task(name, slices=choices.get("protocol") == "slices")


def _belongs(column: MetricColumn, comparison: PaperComparison) -> bool:
    return base_name(column.task) in comparison.tasks and fine_tunes_all(column.task)


def _sheet(found: MeasuredComparison) -> PrintedTable:
    footnotes = Footnotes()
    for reason in found.table.reasons:  # in the order in which the cells number them
        footnotes.mark(reason)
    lines = tuple(
        _line(found, asked, row, footnotes, new_group=bool(place and found.comparison.pairs and not asked.base))
        for place, (asked, row) in enumerate(found.rows)
    )
    leaks = dict.fromkeys(leak for row in found.table.rows for cell in row.summaries for leak in cell.leaks)
    return PrintedTable(
        found.comparison.title,
        (Heading("method"), *(_head(found, place) for place in found.places)),
        lines,
        tuple(_notes(found)),
        (
            *footnotes.lines(),
            *(f"{LEAK_MARK} {leak}" for leak in leaks),
            *environment_notes(found.table),
            *_cited(found),
        ),
        tuple(_legend(found)),
    )


def _head(found: MeasuredComparison, place: ComparisonColumn) -> Heading:
    if place.published:
        return Heading("published", place.label)
    if place.index is None or not found.table.columns[place.index].metric:
        return Heading("measured", place.label)
    return column_heading(found.table.columns[place.index])


def _line(
    found: MeasuredComparison, asked: ComparisonRow, row: MethodRow | None, footnotes: Footnotes, *, new_group: bool
) -> PrintedRow:
    label = (row.method if row else asked.method) + (footnotes.mark(asked.note) if asked.note else "")
    entries = (_entry(found, asked, row, place, footnotes) for place in found.places)
    return printed_row(label, *entries, new_group=new_group)


def _entry(
    found: MeasuredComparison,
    asked: ComparisonRow,
    row: MethodRow | None,
    place: ComparisonColumn,
    footnotes: Footnotes,
) -> PrintedCell:
    if place.published:
        return PrintedCell(_published(found.scores.get((asked.method, place.task)), footnotes))
    if row is None or place.index is None or not row.summaries[place.index].planned:
        return PrintedCell(NOT_RUN + footnotes.mark(why_not_run(found, asked.method, row, place)))
    summary, tied = row.summaries[place.index], found.ties[place.index]
    population_std = f" [{std_text(pstdev(summary.values))}]" if place.with_published and summary.n else ""
    text = cell_text(summary, found.table, population_std + marks(row, place.index, tied))
    return PrintedCell(text, row.method in tied.best, f"{row.method}/{place.label}", summary.keys)


def _published(score: Score | None, footnotes: Footnotes) -> str:
    if score is None:
        return ""
    remarks = (UNRESOLVED if score.certainty == "unresolved" and score.value is not None else "", score.note)
    note = " ".join(filter(None, remarks))
    return published_text(score) + (footnotes.mark(note) if note else "")


def why_not_run(found: MeasuredComparison, method: str, row: MethodRow | None, place: ComparisonColumn) -> str:
    """Return the reason for which a cell of a comparison has no run."""
    reason = next((score.not_run for (name, _), score in found.scores.items() if name == method and score.not_run), "")
    if reason:
        return reason
    if row is None:
        here = method in METHODS
        return "The suite does not have this method." if here else "sg-bench has no method of this name yet."
    return f"The suite does not have the task {place.label}."


def _notes(found: MeasuredComparison) -> Iterator[str]:
    measured = any(cell.n for row in found.table.rows for cell in row.summaries)
    if not measured:
        yield NOTHING
    reasons = _reasons(found)
    for label in dict.fromkeys(place.label for place in found.places):
        if label in reasons:
            yield f"Not comparable with the published numbers, {label}: {'; '.join(reasons[label])}."


def _reasons(found: MeasuredComparison) -> dict[str, list[str]]:
    """Return the reasons for which measured and published scores are not comparable, by task."""
    rows, tasks = {row.method for row in found.table.rows}, {column.task for column in found.table.columns}
    needed = {"task", "store", "initialisation"}
    done = [
        (cell, record)
        for cell, record in found.table.done
        if cell.method in rows and cell.task in tasks and needed <= record.get("recipe", {}).keys()
    ]
    evidence = Evidence([cell for cell, _ in done], {cell.key: record for cell, record in done})
    reasons: dict[str, dict[str, None]] = {}
    for name in _publications(found):
        for line in compare_with_published(evidence, load_published(name)).lines:
            score = found.scores.get((evidence.method_name(line.method), base_name(line.task)))
            if score and score.publication == name:
                reasons.setdefault(line.task, {}).update(dict.fromkeys(line.reasons))
    return {task: list(texts) for task, texts in reasons.items() if texts}


def _publications(found: MeasuredComparison) -> list[str]:
    return list(dict.fromkeys(score.publication for score in found.scores.values()))


def _legend(found: MeasuredComparison) -> list[str]:
    measured = any(cell.planned for row in found.table.rows for cell in row.summaries)
    own = legend(found.table, found.ties) if measured else []
    own += ["[...]: standard deviation with ddof 0, to compare with the published one."] if measured else []
    return [*own, MARKS]


def _cited(found: MeasuredComparison) -> Iterator[str]:
    """Yield the citation of each publication, one paragraph each."""
    for name in _publications(found):
        each = load_published(name)
        context = f"Context only: {each.context}." if each.context else ""
        parts = (f"Published: {each.citation}.", each.source, f"Number of runs: {each.n_note}", context)
        yield " ".join(filter(None, parts))


def _csv(found: MeasuredComparison) -> str:
    places = [place for place in found.places if not place.published]
    return csv_text(CSV_COLUMNS, (_csv_line(found, asked, row, place) for asked, row in found.rows for place in places))


def _csv_line(
    found: MeasuredComparison, asked: ComparisonRow, row: MethodRow | None, place: ComparisonColumn
) -> dict[str, object]:
    line: dict[str, object] = {}
    if place.index is not None:
        column = found.table.columns[place.index]
        line |= {"metric": column.metric, "role": column.role}
    if row is None or place.index is None or not row.summaries[place.index].planned:
        line["not_run"] = why_not_run(found, asked.method, row, place)
    else:
        line |= score_fields(row, place.index, found.ties[place.index])
    score = found.scores.get((asked.method, place.task))
    if score and (place.with_published or place.index is None):
        line |= {"published": _fraction(score.value), "published_spread": _fraction(score.spread)}
        line |= {f"published_{name}": getattr(score, name) for name in ("status", "metric", "label")}
        line["publication"] = score.publication
    label = row.method if row else None
    return {**line, "comparison": found.comparison.name, "method": asked.method, "label": label, "task": place.label}


def _fraction(percent: float | None) -> float | None:
    """Return a published percentage as a fraction, as all other numbers of the file."""
    return None if percent is None else round(percent / 100, 6)
