"""Each base method against the same method with semantics: the comparisons of the papers.

The pairs are few and fixed before any run, so Holm's correction over the pairs of one task suffices. The p-values in
the papers' figures are shown next to ours; they agree with one-sided, unadjusted tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

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
from sg_bench.reporting.frame import MetricColumn
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

MethodPair = dict[str, Any]
"""A method and the same with semantics, on one task under one metric: numbers by the names of CSV_COLUMNS; `keys` of
their records and `kinds` of their units, which are empty if one has no value."""


def pairs_of(
    comparison: PaperComparison, table: Table, labels: Mapping[str, list[str]]
) -> list[tuple[int, list[MethodPair]]]:
    """Return the pairs of a comparison on each printed column of `table`, adjusted column by column.

    Args:
        comparison: has the pairs.
        table: the methods and tasks of the comparison.
        labels: the suite's labels of each registered method; the first one is compared.
    """
    rows, printed = {row.method: row for row in table.rows}, _published(comparison)
    found = []
    for index, column in enumerate(table.columns):
        family = []
        for base, added in comparison.pairs:
            chosen = [rows.get((labels.get(name) or [name])[0]) for name in (base, added)]
            cells = [row.summaries[index] if row else None for row in chosen]
            p_published = printed.get((base, added, _compared_task(table, index)))
            names = {"task": column.task, "metric": column.metric, "base": base, "with_semantics": added}
            family.append({**names, **_compared(*cells), "published": p_published})
        adjusted = holm({pair["with_semantics"]: p for pair in family if (p := pair["p_welch"]) is not None})
        found.append((index, [{**pair, "p_holm": adjusted.get(pair["with_semantics"])} for pair in family]))
    return found


def _compared(before: ScoreSummary | None, after: ScoreSummary | None) -> MethodPair:
    """Return the numbers of a method without and with semantics; None where they cannot be computed."""
    pair: MethodPair = {"n_base": before.units.n if before else 0, "n_with": after.units.n if after else 0}
    pair |= {"p_welch": None, "p_paired_t": None, "keys": (), "kinds": set()}
    if before is None or after is None or not before.n or not after.n:
        return pair
    base, added = before.units, after.units
    welch = two_sample.welch(added.values, base.values) if added.kind == base.kind else None
    paired = two_sample.paired_t(*shared(added, base))
    return pair | {
        "difference": fmean(added.values) - fmean(base.values),
        "p_welch": welch.p if welch else None,
        "p_paired_t": paired.p if paired else None,
        "hedges_g": hedges_g(added.values, base.values),
        "keys": (*after.keys, *before.keys),
        "kinds": {added.kind, base.kind},
    }


def pair_document(comparison: PaperComparison, table: Table, labels: Mapping[str, list[str]]) -> Document:
    """Return the pairs of a comparison as a document, ordered by task and metric.

    Arguments as `pairs_of`.
    """
    families, footnotes = pairs_of(comparison, table, labels), Footnotes()
    lines = tuple(
        printed_row(*_entries(table.columns[index], pair, footnotes), new_group=bool(index) and not place)
        for index, family in families
        for place, pair in enumerate(family)
    )
    pairs = [pair for _, family in families for pair in family]
    kinds = {kind for pair in pairs for kind in pair["kinds"]}
    notes = [CHECKPOINTS] * ("fine-tuning" in kinds) + [PRETRAININGS] * ("pretraining" in kinds)
    names = ("pair", "task · metric", "n", "difference", "Welch p", "Holm p", "paired t p", "Hedges g", "published")
    below = (*footnotes.lines(), *environment_notes(table))
    sheet = PrintedTable(TITLE, headings(*names), lines, tuple(notes), below, LEGEND)
    numbers = ({name: stable(x) if isinstance(x, float) else x for name, x in pair.items()} for pair in pairs)
    nothing = () if kinds else (NOTHING,)
    name = f"comparison-{comparison.name}-pairs"
    return Document(name, TITLE, (sheet,) if pairs else (), csv_text(CSV_COLUMNS, numbers), nothing)


def _entries(column: MetricColumn, pair: MethodPair, footnotes: Footnotes) -> Iterator[PrintedCell | str]:
    base, added = pair["base"], pair["with_semantics"]
    yield from (f"{base} → {added}", column_heading(column).joined)
    if not pair["kinds"]:
        yield from [DASH + footnotes.mark(NOT_BOTH)] * 6
    else:
        few = min(pair["n_base"], pair["n_with"]) < MIN_UNITS
        why = footnotes.mark(FEW) if few else footnotes.mark(TWO_KINDS) if len(pair["kinds"]) > 1 else ""
        place = f"{added}/{column.task} and {base}/{column.task}"
        yield f"{pair['n_base']}, {pair['n_with']}"
        yield PrintedCell(signed(100 * pair["difference"], plus=True), place=place, keys=pair["keys"])
        yield from (DASH + why if pair[p] is None else p_text(pair[p]) for p in ("p_welch", "p_holm", "p_paired_t"))
        yield DASH if pair["hedges_g"] is None else signed(pair["hedges_g"], plus=True)
    yield pair["published"] or ""


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
