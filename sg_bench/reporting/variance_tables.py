"""Sources of variance of each method's scores, and aggregates of the methods across all tasks.

Three sources are kept apart: the pretraining seed, the fine-tuning seed and the test cases (intervals: case_tables.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sg_bench.evaluation.metrics import higher_is_better, unit_of
from sg_bench.reporting.case_tables import CASE_RUNS, CaseResamples
from sg_bench.reporting.documents import (
    DASH,
    Document,
    Footnotes,
    PrintedCell,
    PrintedTable,
    csv_text,
    headings,
    printed_row,
    signed,
    stable,
)
from sg_bench.reporting.environments import environment_notes
from sg_bench.reporting.render import column_heading, std_text, unit_sentence
from sg_bench.reporting.tables import Table
from sg_bench.statistics.aggregate import Aggregate, iqm_interval, probability_of_improvement
from sg_bench.statistics.two_sample import MIN_UNITS
from sg_bench.statistics.units import Units
from sg_bench.statistics.variance import CaseUnit, VarianceComponents, bootstrap_std, variance_components
from sg_bench.tasks import fine_tunes_all

SOURCES = ("pretraining", "fine_tuning", "test_cases")
LEGEND = (
    "Standard deviations (ddof 1) in percent: of a pretraining's expected score from one pretraining seed to another; "
    "of a run's score from one fine-tuning seed to another after the same pretraining; of a run's score from one test "
    "set of this size to another (bootstrap over {units}, the first {runs} runs).",
    "They answer different questions and must not be added or exchanged.",
)
ACROSS_LEGEND = (
    "In percent. Interquartile mean of the scores of all tasks, with the units of the significance tables; its "
    "interval is a 95 % percentile bootstrap over the units within each task: it covers other seeds, not other tasks, "
    "and with few units it is too short (its coverage is 85 % at n = 5, 90 % at n = 10).",
    "Relative to scratch: (score − scratch's mean) / (1 − scratch's mean) on each task, 0 being as good as scratch and "
    "100 perfect. Better than scratch: the probability that a unit of the method scores higher than one of scratch, "
    "averaged over tasks; an interval of zero width at 100 means that all measured units did.",
)
FEW = f"fewer than {MIN_UNITS} units on some task: no interval"


def variance_document(table: Table, drawn: CaseResamples | None = None) -> Document:
    """Return the sources of variance of every method on every task, under the headline metric.

    Args:
        table: the main table.
        drawn: its bootstrap scores, if another document has computed some already.
    """
    drawn = drawn or CaseResamples(table)
    found = [(row.method, index, each) for index in _headlines(table) for row, each in _sources(table, index, drawn)]
    sheets = tuple(_sheet(table, index, found) for index in dict.fromkeys(index for _, index, _ in found))
    columns = ["task", "metric", "method", "runs", "pretrainings", *(f"std_{source}" for source in SOURCES), "notes"]
    lines = (
        {**vars(table.columns[index]), "method": method, "runs": each.runs, "pretrainings": each.pretrainings}
        | {f"std_{source}": stable(getattr(each, source)) for source in SOURCES}
        | {"notes": "; ".join(each.notes)}
        for method, index, each in found
    )
    legend = tuple(text.format(units=_units(table, drawn), runs=CASE_RUNS) for text in LEGEND) if sheets else ()
    others = unit_sentence(table.columns[index].metric for index in _headlines(table)) if sheets else ""
    legend += (others,) if others else ()
    notes = () if sheets else ("No results yet.",)
    return Document("variance", "Sources of variance", sheets, csv_text(columns, lines), notes, legend)


def _headlines(table: Table) -> list[int]:
    return [index for index, column in enumerate(table.columns) if column.role == "headline" and column.metric]


def _sources(table: Table, index: int, drawn: CaseResamples) -> Iterator[tuple[Any, VarianceComponents]]:
    column = table.columns[index]
    for row in table.rows:
        summary = row.summaries[index]
        if summary.n:
            scores = dict(zip(summary.seeds, summary.values, strict=True))
            runs = [drawn.scores(key).get(column.metric) for key in drawn.runs(summary)]
            yield (
                row,
                variance_components(scores, [bootstrap_std(run) for run in runs if run is not None], column.metric),
            )


def _units(table: Table, drawn: CaseResamples) -> str:
    """Return what was resampled: images, patients, or "images or patients" if tasks differ."""
    keys = (key for index in _headlines(table) for row in table.rows for key in drawn.runs(row.summaries[index]))
    units: list[CaseUnit] = sorted({drawn.unit(key) for key in keys}) or ["images"]
    return " or ".join(units)


def _sheet(table: Table, index: int, found: Sequence[tuple[str, int, VarianceComponents]]) -> PrintedTable:
    footnotes = Footnotes()
    column = table.columns[index]
    keys = {row.method: row.summaries[index].keys for row in table.rows}
    lines = []
    for method, place, sources in found:
        if place == index:
            marks = "".join(footnotes.mark(note) for note in sources.notes)
            first, *spreads = (std_text(getattr(sources, source), column.metric) for source in SOURCES)
            origin = PrintedCell(first, place=f"{method}/{column.task}", keys=keys[method])
            lines.append(printed_row(method, str(sources.pretrainings), str(sources.runs) + marks, origin, *spreads))
    names = (source.replace("_", " ") for source in SOURCES)
    heads = (*headings("method", "pretrainings", "runs"), *headings(*names, group="standard deviation"))
    return PrintedTable(f"Variance: {column_heading(column).joined}", heads, tuple(lines), (), footnotes.lines())


# ---- across tasks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AcrossTasks:
    """The methods that have a value on every task, and their units on each."""

    tasks: tuple[str, ...]
    units: Mapping[str, tuple[Units, ...]]
    """By method, for each task."""
    left_out: Mapping[str, tuple[str, ...]]
    """The tasks on which each other method has no value."""
    reference: str | None
    apart: tuple[str, ...] = ()
    """Tasks whose metric is no fraction of which more is better, and that no mean holds."""

    @cached_property
    def scores(self) -> dict[str, list[list[float]]]:
        """Return values by method, tasks x units."""
        return {method: [list(task.values) for task in tasks] for method, tasks in self.units.items()}

    @property
    def least(self) -> int:
        """Return the smallest number of units of any method on any task."""
        return min((task.n for tasks in self.units.values() for task in tasks), default=0)

    def shared(self, *methods: str) -> bool:
        """Return whether a unit of these methods is one pretraining seed used by all tasks."""
        tasks = [task for method in methods for task in self.units[method]]
        return {task.kind for task in tasks} == {"pretraining"} and all(
            len({task.seeds for task in self.units[method]}) == 1 for method in methods
        )


def across(table: Table, names: Mapping[str, str]) -> AcrossTasks:
    """Return the methods with a value on every task; fractions of the labels, few shots and probes are ignored."""
    own = [index for index in _headlines(table) if fine_tunes_all(table.columns[index].task)]
    columns = [index for index in own if _aggregated(table.columns[index].metric)]
    columns = [index for index in columns if any(row.summaries[index].n for row in table.rows)]
    lacking = {
        row.method: tuple(table.columns[index].task for index in columns if not row.summaries[index].n)
        for row in table.rows
    }
    units = {
        row.method: tuple(row.summaries[index].units for index in columns)
        for row in table.rows
        if columns and not lacking[row.method]
    }
    reference = next((label for label in units if names.get(label, label) == "scratch"), None)
    left_out = {method: tasks for method, tasks in lacking.items() if tasks}
    apart = tuple(table.columns[index].task for index in own if index not in columns)
    return AcrossTasks(tuple(table.columns[index].task for index in columns), units, left_out, reference, apart)


def _aggregated(metric: str) -> bool:
    """Return whether scores under a metric can be averaged over tasks: fractions of which more is better."""
    return unit_of(metric) == "%" and higher_is_better(metric)


def across_document(table: Table, names: Mapping[str, str]) -> Document:
    """Return the interquartile mean of each method across all tasks, as measured and relative to scratch."""
    found = across(table, names)
    numbers = _aggregates(found)
    columns = ("method", "measure", "value", "low", "high", "tasks", "least_units")
    lines = (
        {"method": method, "measure": measure, "value": each.value, "tasks": len(found.tasks)}
        | {"least_units": found.least}
        | ({"low": each.low, "high": each.high} if found.least >= MIN_UNITS else {})
        for measure, by_method in numbers.items()
        for method, each in by_method.items()
    )
    sheets = (_across_sheet(found, numbers, environment_notes(table)),) if found.units else ()
    notes = () if sheets else ("No method has a value on every task.",)
    text = csv_text(columns, lines)
    return Document("across-tasks", "Across tasks", sheets, text, notes, blank=len(found.tasks) < 2)


def _aggregates(found: AcrossTasks) -> dict[str, dict[str, Aggregate]]:
    if not found.units:
        return {}
    shared = found.shared(*found.units)
    numbers = {"interquartile mean": iqm_interval(found.scores, shared_units=shared)}
    if found.reference:
        perfect = any(min(task) >= 1 for task in found.scores[found.reference])
        if not perfect:
            numbers["relative to scratch"] = iqm_interval(
                found.scores, relative_to=found.reference, shared_units=shared
            )
        numbers["better than scratch"] = {
            method: probability_of_improvement(
                found.scores[method],
                found.scores[found.reference],
                shared_units=found.shared(method, found.reference),
            )
            for method in found.scores
            if method != found.reference
        }
    return numbers


def _across_sheet(
    found: AcrossTasks, numbers: Mapping[str, Mapping[str, Aggregate]], environment: Sequence[str]
) -> PrintedTable:
    footnotes = Footnotes()
    lines = []
    for method in found.units:
        texts = [_text(by_method.get(method), found, footnotes) for by_method in numbers.values()]
        lines.append(printed_row(method, *texts))
    notes = [f"Over {len(found.tasks)} tasks: {', '.join(found.tasks)}."]
    notes += [f"Left out: {method}, without a value on {', '.join(tasks)}." for method, tasks in found.left_out.items()]
    if found.apart:
        notes.append(f"Without {', '.join(found.apart)}, whose metric is no fraction of which more is better.")
    if any(task.kind == "fine-tuning" for tasks in found.units.values() for task in tasks):
        notes.append("Units are fine-tuning seeds of one pretraining: results hold for this checkpoint only.")
    below = (*footnotes.lines(), *environment)
    return PrintedTable("Across tasks", headings("method", *numbers), tuple(lines), tuple(notes), below, ACROSS_LEGEND)


def _text(found: Aggregate | None, across_: AcrossTasks, footnotes: Footnotes) -> str:
    if found is None:
        return DASH
    value = signed(100 * found.value)
    if across_.least < MIN_UNITS:
        return value + footnotes.mark(FEW)
    return f"{value} ({signed(100 * found.low)} to {signed(100 * found.high)})"
