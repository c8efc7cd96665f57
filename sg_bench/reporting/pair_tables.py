"""Each base method against the same method with semantics: the comparisons of the papers.

The pairs are few and fixed before any run, so Holm's correction over the pairs of one task suffices. The p-values in
the papers' figures are shown next to ours; they agree with one-sided, unadjusted tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

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
from sg_bench.reporting.published import PaperComparison, load_published
from sg_bench.reporting.render import column_heading
from sg_bench.reporting.significance import FEW, p_text, shared
from sg_bench.reporting.tables import ScoreSummary, Table
from sg_bench.statistics import two_sample
from sg_bench.statistics.effects import hedges_g
from sg_bench.statistics.families import holm
from sg_bench.statistics.two_sample import MIN_UNITS
from sg_bench.tasks import parse_reference

TITLE = "With semantics against without"
LEGEND = (
    "Difference of the means in percentage points, positive where semantics help. Welch: two-sided; Holm: the same, "
    "adjusted for the pairs of one task and metric, which were fixed beforehand; paired t: over common seeds.",
    "Published: stars or p-values in the figures of the papers, apparently one-sided and not adjusted.",
)
NOTHING = "No results for any pair."
NOT_BOTH = "no results for both methods"
TWO_KINDS = "no p-value: the units of one side are pretrainings, those of the other runs of one pretraining"
CHECKPOINTS = "One pretraining on some side: n counts fine-tuning seeds, and results hold for these checkpoints only."
PRETRAININGS = "n counts pretraining seeds, each the mean over its fine-tuning seeds."
CSV_COLUMNS = (
    *("task", "metric", "base", "with_semantics", "n_base", "n_with"),
    *("difference", "p_welch", "p_holm", "p_paired_t", "hedges_g", "published"),
)


@dataclass(frozen=True)
class MethodPair:
    """A base method and the same with semantics, on one task under one metric."""

    base: str
    added: str
    column: int
    before: ScoreSummary | None
    after: ScoreSummary | None
    published: str
    holm: float | None = None

    @property
    def measured(self) -> tuple[ScoreSummary, ScoreSummary] | None:
        """Return both summaries, if both have a value."""
        both = self.before, self.after
        return (both[0], both[1]) if both[0] and both[1] and both[0].n and both[1].n else None

    @property
    def difference(self) -> float | None:
        """Return the difference of the means over units, with semantics minus without."""
        both = self.measured
        return fmean(both[1].units.values) - fmean(both[0].units.values) if both else None

    @property
    def welch(self) -> float | None:
        """Return the unadjusted p-value."""
        both = self.measured
        test = two_sample.welch(both[1].units.values, both[0].units.values) if both and not self.two_kinds else None
        return test.p if test else None

    @property
    def kinds(self) -> set[str]:
        """Return the kinds of units of both sides, if both have a value."""
        return {side.units.kind for side in self.measured or ()}

    @property
    def two_kinds(self) -> bool:
        """Return whether the units of the two sides are of different kinds, so that no test applies."""
        return len(self.kinds) > 1

    @property
    def paired_t(self) -> float | None:
        """Return the p-value over common seeds."""
        test = two_sample.paired_t(*shared(self.measured[1].units, self.measured[0].units)) if self.measured else None
        return test.p if test else None

    @property
    def hedges_g(self) -> float | None:
        """Return the standardised difference."""
        return hedges_g(self.measured[1].units.values, self.measured[0].units.values) if self.measured else None


def pairs_of(comparison: PaperComparison, table: Table, labels: Mapping[str, list[str]]) -> list[MethodPair]:
    """Return all pairs of a comparison on all printed columns of `table`, adjusted column by column.

    Args:
        comparison: has the pairs.
        table: the methods and tasks of the comparison.
        labels: the suite's labels of each registered method; the first one is compared.
    """
    rows = {row.method: row for row in table.rows}
    printed = _published(comparison)
    found: list[MethodPair] = []
    for column in range(len(table.columns)):
        family = []
        for base, added in comparison.pairs:
            before, after = (rows.get((labels.get(name) or [name])[0]) for name in (base, added))
            p_published = printed.get((base, added, _compared_task(table, column)), "")
            cells = [row.summaries[column] if row else None for row in (before, after)]
            family.append(MethodPair(base, added, column, cells[0], cells[1], p_published))
        found += _adjusted(family)
    return found


def pair_document(comparison: PaperComparison, table: Table, labels: Mapping[str, list[str]]) -> Document:
    """Return the pairs of a comparison as a document, ordered by task and metric.

    Arguments as `pairs_of`.
    """
    pairs, footnotes = pairs_of(comparison, table, labels), Footnotes()
    lines = tuple(
        printed_row(*_entries(table, pair, footnotes), new_group=bool(place) and pair.column != pairs[place - 1].column)
        for place, pair in enumerate(pairs)
    )
    names = ("pair", "task · metric", "n", "difference", "Welch p", "Holm p", "paired t p", "Hedges g", "published")
    below = (*footnotes.lines(), *environment_notes(table))
    sheet = PrintedTable(TITLE, headings(*names), lines, tuple(_units(pairs)), below, LEGEND)
    csv = csv_text(CSV_COLUMNS, (_csv_line(table, pair) for pair in pairs))
    notes = () if any(pair.measured for pair in pairs) else (NOTHING,)
    return Document(f"comparison-{comparison.name}-pairs", TITLE, (sheet,) if pairs else (), csv, notes)


def _csv_line(table: Table, pair: MethodPair) -> dict[str, object]:
    column = table.columns[pair.column]
    counts = [cell.units.n if cell else 0 for cell in (pair.before, pair.after)]
    numbers = [pair.difference, pair.welch, pair.holm, pair.paired_t, pair.hedges_g]
    values = (column.task, column.metric, pair.base, pair.added, *counts, *map(stable, numbers), pair.published)
    return dict(zip(CSV_COLUMNS, values, strict=True))


def _units(pairs: Sequence[MethodPair]) -> Iterator[str]:
    kinds = {kind for pair in pairs for kind in pair.kinds}
    if "fine-tuning" in kinds:
        yield CHECKPOINTS
    if "pretraining" in kinds:
        yield PRETRAININGS


def _adjusted(family: list[MethodPair]) -> list[MethodPair]:
    adjusted = holm({pair.added: p for pair in family if (p := pair.welch) is not None})
    return [replace(pair, holm=adjusted.get(pair.added)) for pair in family]


def _entries(table: Table, pair: MethodPair, footnotes: Footnotes) -> Iterator[PrintedCell | str]:
    column = table.columns[pair.column]
    yield from (f"{pair.base} → {pair.added}", column_heading(column).joined)
    if pair.measured is None:
        yield from [DASH + footnotes.mark(NOT_BOTH)] * 6
    else:
        before, after = pair.measured
        few = min(before.units.n, after.units.n) < MIN_UNITS
        why = footnotes.mark(FEW) if few else footnotes.mark(TWO_KINDS) if pair.two_kinds else ""
        place = f"{pair.added}/{column.task} and {pair.base}/{column.task}"
        yield f"{before.units.n}, {after.units.n}"
        yield PrintedCell(
            signed(100 * (pair.difference or 0.0), plus=True), place=place, keys=(*after.keys, *before.keys)
        )
        yield from (DASH + why if p is None else p_text(p) for p in (pair.welch, pair.holm, pair.paired_t))
        yield DASH if pair.hedges_g is None else signed(pair.hedges_g, plus=True)
    yield pair.published


def _compared_task(table: Table, column: int) -> str:
    """Return the task's name if a column is the one to compare with published numbers, else ""."""
    tasks = [each.task for each in table.columns]
    last = tasks[column] not in tasks[column + 1 :]
    return parse_reference(tasks[column])[0] if last else ""


def _published(comparison: PaperComparison) -> dict[tuple[str, str, str], str]:
    """Return the published stars and p-values by (base, with semantics, task)."""
    added = dict(reversed(comparison.pairs))  # of several methods with one base, the first is that of the papers
    published = [each for name in comparison.published for each in load_published(name).significance]
    found: dict[tuple[str, str, str], list[str]] = {}
    for each in published:
        place = each.base, added.get(each.base, ""), each.task
        found.setdefault(place, []).append(each.mark if each.p is None else f"{each.p:g}")
    return {place: ", ".join(texts) for place, texts in found.items()}
