"""Bootstrap intervals of each score over test sets: other patients of the same source, the same networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sg_bench.evaluation.metrics import scale_of
from sg_bench.evaluation.scoring import Scoring
from sg_bench.ledger import ScoreTables
from sg_bench.reporting.documents import (
    DASH,
    Document,
    Footnotes,
    PrintedCell,
    PrintedTable,
    csv_text,
    headings,
    printed_row,
    stable,
)
from sg_bench.reporting.render import column_heading, unit_sentence
from sg_bench.reporting.tables import MethodRow, ScoreSummary, Table
from sg_bench.statistics.samples import FloatArray
from sg_bench.statistics.variance import (
    COUNTS,
    RESAMPLES,
    CaseInterval,
    CaseUnit,
    bootstrap_scores,
    case_interval,
    patients_known,
    resampling_units,
)

CASE_RUNS = 5
"""Runs per method and task, those of the lowest seeds, whose test cases are resampled: most of a report's time."""
LEGEND = (
    f"In percent: the mean score of the first {CASE_RUNS} runs at most, and its 95 % percentile interval over "
    f"{RESAMPLES} test sets, resampled with replacement by patient (by image where patients are not known).",
    "It covers other test sets from the same source, not other seeds. Two methods whose intervals overlap may still "
    "differ, since both were tested on the same cases. With few patients it is too short.",
)
NO_INTERVAL = "no interval: its per-case scores do not suffice to compute the metric, or too few test sets have a value"
CSV_COLUMNS = (
    *("task", "metric", "role", "method", "runs", "score", "low", "high"),
    *("unit", "units", "test_sets", "left_out"),
)


@dataclass(frozen=True)
class RunResamples:
    """The scores of one run over bootstrapped test sets."""

    unit: CaseUnit
    names: frozenset[str]
    """Of the patients or images that it was tested on."""
    scores: Mapping[str, FloatArray]
    """(resamples,) by metric."""


class CaseResamples:
    """Bootstrap scores of a table's runs, computed once per run for all of its metrics."""

    def __init__(self, table: Table, scores: ScoreTables | None = None) -> None:
        self.records = {cell.key: record for cell, record in table.done}
        self._tables = scores or ScoreTables(self.records)
        self._runs: dict[str, RunResamples] = {}

    def runs(self, summary: ScoreSummary) -> list[str]:
        """Return the keys of the runs of a summary that are drawn again: its first ones that have rows."""
        ordered = sorted(zip(summary.seeds, summary.keys, strict=True))[:CASE_RUNS]
        return [key for _, key in ordered if self._tables.count(key)]

    def unit(self, key: str) -> CaseUnit:
        """Return the kind of unit that is drawn from a run's test set."""
        return self._run(key).unit

    def units(self, keys: Sequence[str]) -> int:
        """Return how many patients or images these runs were tested on."""
        return len(set[str]().union(*(self._run(key).names for key in keys)))

    def scores(self, key: str) -> Mapping[str, FloatArray]:
        """Return a run's scores over the test sets, by metric; runs of one task and fold have the same test sets."""
        return self._run(key).scores

    def _run(self, key: str) -> RunResamples:
        """Return what is kept of a run; its cases are read once and not held in memory."""
        if key not in self._runs:
            record, recipe = self.records[key], self.records[key].get("recipe", {})
            task = recipe.get("task", {})
            scoring = Scoring.of(task)
            folds = (task.get("split") or {}).get("folds")
            fold = recipe["fine_tuning_seed"] % folds if folds else 0  # folds share no patient: each is drawn by itself
            metrics = sorted(record["metrics"])
            cases = self._tables.case_scores(key, ("patient", "score", "truth", *COUNTS, *metrics))
            if not patients_known(cases):  # ids, of which reading takes most of the time, are needed
                cases = self._tables.case_scores(key)
            unit, owners = resampling_units(cases)
            scores = bootstrap_scores(
                cases, metrics, scoring.names, exclusive=scoring.exclusive, seed=fold, units=owners
            )
            self._runs[key] = RunResamples(unit, frozenset(owners.categories), scores)
        return self._runs[key]


@dataclass(frozen=True)
class ResampledScore:
    """The score of one method on one task under one metric, with its interval over test sets."""

    row: MethodRow
    index: int
    """Index of the table's column."""
    score: float
    """Mean of the resampled runs."""
    runs: tuple[str, ...]
    unit: CaseUnit
    units: int
    interval: CaseInterval | None


def case_document(table: Table, drawn: CaseResamples | None = None) -> Document:
    """Return the interval over test sets of each score: headline and secondary metrics as tables, all in the CSV.

    Args:
        table: the main table.
        drawn: its bootstrap scores, if another document has computed some already.
    """
    drawn = drawn or CaseResamples(table)
    found = [
        each for index, column in enumerate(table.columns) if column.metric for each in _drawn(table, index, drawn)
    ]
    printed = [i for i, column in enumerate(table.columns) if column.role in ("headline", "secondary")]
    sheets = [_sheet(table, index, [each for each in found if each.index == index]) for index in printed]
    lines = [_csv_line(table, each) for each in found]
    kept = tuple(sheet for sheet in sheets if sheet.rows)
    notes = () if kept else ("No test cases are scored yet.",)
    text = csv_text(CSV_COLUMNS, lines)
    units = unit_sentence(column.metric for column in table.columns if column.role in ("headline", "secondary"))
    legend = (*LEGEND, *([units] if units else [])) if kept else ()
    return Document("test-cases", "Intervals over test cases", kept, text, notes, legend)


def _drawn(table: Table, index: int, drawn: CaseResamples) -> Iterator[ResampledScore]:
    for row in table.rows:
        summary, metric = row.summaries[index], table.columns[index].metric
        keys = drawn.runs(summary)
        if keys:
            scores = [drawn.scores(key).get(metric) for key in keys]
            known = [each for each in scores if each is not None]
            interval = case_interval(known) if len(known) == len(keys) else None
            values = dict(zip(summary.keys, summary.values, strict=True))
            mean = fmean(values[key] for key in keys)
            yield ResampledScore(row, index, mean, tuple(keys), drawn.unit(keys[0]), drawn.units(keys), interval)


def _sheet(table: Table, index: int, found: Sequence[ResampledScore]) -> PrintedTable:
    footnotes, column = Footnotes(), table.columns[index]
    lines = []
    for each in found:
        scale = scale_of(column.metric)
        score = PrintedCell(f"{scale * each.score:.2f}", place=f"{each.row.method}/{column.task}", keys=each.runs)
        size = f"{each.units} {each.unit if each.units > 1 else each.unit[:-1]}"
        lines.append(printed_row(each.row.method, str(len(each.runs)), score, _interval(each, scale, footnotes), size))
    heads = headings("method", "runs", "score", "95 % interval", "test set")
    return PrintedTable(f"Test cases: {column_heading(column).joined}", heads, tuple(lines), (), footnotes.lines())


def _interval(each: ResampledScore, scale: float, footnotes: Footnotes) -> str:
    found = each.interval
    if found is None:
        return DASH + footnotes.mark(NO_INTERVAL)
    left = f"{found.left_out} of {found.resamples} test sets lack a positive or a negative case and are left out"
    return f"{scale * found.low:.2f} to {scale * found.high:.2f}" + (footnotes.mark(left) if found.left_out else "")


def _csv_line(table: Table, each: ResampledScore) -> dict[str, object]:
    found = each.interval
    ends = {"low": stable(found.low), "high": stable(found.high)} if found else {}
    draws = {"test_sets": found.resamples, "left_out": found.left_out} if found else {}
    who = {"method": each.row.method, "runs": len(each.runs), "score": each.score}
    return {**vars(table.columns[each.index]), **who, **ends, "unit": each.unit, "units": each.units, **draws}
