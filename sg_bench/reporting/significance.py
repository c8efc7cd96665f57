"""Significance tests of the methods of each task, against the best method and against scratch.

The papers' unadjusted test is shown for comparison only: with nine equal methods it finds a "significant" winner in
half of all cases. Conclusions rest on the tests adjusted for all pairs (the best method is selected by the data) and on
the adjusted tests against scratch, which was fixed beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from sg_bench.evaluation.metrics import scale_of
from sg_bench.reporting.documents import (
    DASH,
    Document,
    Footnotes,
    PrintedCell,
    PrintedRow,
    PrintedTable,
    csv_text,
    headings,
    printed_row,
    signed,
    stable,
)
from sg_bench.reporting.environments import environment_notes
from sg_bench.reporting.frame import MetricColumn
from sg_bench.reporting.intervals import interval_sentences, score_interval
from sg_bench.reporting.render import ALPHA, column_heading, unit_sentence
from sg_bench.reporting.separation import UnitGroups, compared, separation
from sg_bench.reporting.tables import Table
from sg_bench.statistics import families, two_sample
from sg_bench.statistics.effects import hedges_g
from sg_bench.statistics.intervals import ConfidenceInterval
from sg_bench.statistics.ties import TIE_TEST, Separation
from sg_bench.statistics.two_sample import MIN_UNITS, TestResult
from sg_bench.statistics.units import Units

UnitValues = tuple[float, ...]
TestResults = Mapping[str, float | None]
"""By name; None where it cannot be computed."""
REFERENCE = "scratch"
"""The registered method that all others are tested against."""
CONVENTION = "papers' convention, not adjusted"
FEW = f"fewer than {MIN_UNITS} units on one side: no p-value"
UNPAIRED = f"fewer than {MIN_UNITS} seeds that both methods share: no pairs"
CONSTANT = "no variation: no p-value"
ALONE = "no comparison: it is the best itself"
ITSELF = "no comparison: it is the reference method"
ABSENT = f"not tested: incomplete, and above the best complete cell or of fewer than {MIN_UNITS} units"
NO_REFERENCE = f"no method '{REFERENCE}' with a value on this task"


@dataclass(frozen=True)
class Standing:
    """One method on one task under one metric."""

    method: str
    units: Units
    mean: float
    interval: ConfidenceInterval | None
    tier: int | None
    """1 for the tie group of the best; None for a method that is not tested."""
    best: bool
    against_best: TestResults
    """P-values by the names of P_HEADS; none of the best itself, and of what was not tested."""
    against_scratch: TestResults
    """P-values and the effect, by the names of SCRATCH_HEADS; none of scratch itself."""
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """All methods of one task under one metric, which are tested together."""

    column: int
    standings: tuple[Standing, ...]
    reference: str | None
    """Label of scratch, if it has a value."""
    found: Separation | None
    warning: str | None
    """Reason for which no difference, however large, could be significant."""


def significance_document(table: Table, names: Mapping[str, str]) -> Document:
    """Return a significance table for each printed column with a value.

    Args:
        table: the main table.
        names: the registered method of each label.
    """
    found = [family(table, column, names) for column in table.printed]
    families_ = [each for each in found if each.standings]
    sheets = tuple(_sheet(table, each) for each in families_)
    notes = [] if sheets else ["No results yet."]
    metrics = [table.columns[each.column].metric for each in families_]
    legend = (*LEGEND[:1], *interval_sentences(metrics), *LEGEND[1:]) if sheets else ()
    others = unit_sentence(metrics) if sheets else ""
    if others:
        legend += (f"{others} The best methods come first, and effects are positive where a method is better.",)
    standings = [standing for each in families_ for standing in each.standings]
    results = [test for each in standings for test in (*each.against_best.items(), *each.against_scratch.items())]
    blank = {name for name, value in results if value is not None} <= {"hedges_g"}
    return Document("significance", "Significance", sheets, _csv(table, families_), tuple(notes), legend, blank)


def family(table: Table, column: int, names: Mapping[str, str]) -> Family:
    """Return the tests of one column, the methods with the best means first."""
    measured = {row.method: row.summaries[column].units for row in table.rows if row.summaries[column].n}
    units = {row.method: row.summaries[column].gains for row in table.rows if row.summaries[column].n}
    keys = {row.method: row.summaries[column].keys for row in table.rows}
    groups = compared(table, column)
    reference = next((label for label in units if names.get(label, label) == REFERENCE), None)
    found = separation(groups) if groups else None
    best = _against_best(units, groups, found)
    scratch = _against_scratch(units, reference)
    tiers = {name: place for place, tier in enumerate(found.tiers, start=1) for name in tier} if found else {}
    standings = [
        Standing(
            method,
            own,
            fmean(own.values),
            score_interval(own.values, table.columns[column].metric),
            tiers.get(method),
            found is not None and method == found.best,
            best.get(method, {}),
            scratch.get(method, {}),
            keys[method],
        )
        for method, own in measured.items()
    ]
    ordered = sorted(standings, key=lambda standing: -fmean(units[standing.method].values))
    return Family(column, tuple(ordered), reference, found, _warning(groups))


def _against_best(units: Mapping[str, Units], groups: UnitGroups, found: Separation | None) -> dict[str, TestResults]:
    """Return the tests of the best against each other method."""
    if found is None:
        return {}
    values, best = dict(groups), found.best
    papers, games_howell = families.papers_test(values), families.games_howell(values, best)
    against: dict[str, TestResults] = {}
    for method in values:
        if method != best:
            first, second = shared(units[best], units[method])
            against[method] = {
                "papers": papers[method].p if method in papers else None,
                "welch": _p(two_sample.welch, values[best], values[method]),
                "mann_whitney": _p(two_sample.mann_whitney, values[best], values[method]),
                "paired_t": _p(two_sample.paired_t, first, second),
                "sign_flip": _p(two_sample.sign_flip, first, second),
                "games_howell": games_howell.get(method),
                "t3": found.p.get(method),
            }
    return against


def _against_scratch(units: Mapping[str, Units], reference: str | None) -> dict[str, TestResults]:
    """Return the tests of all methods against scratch, incomplete ones included, as none is selected by the data."""
    if reference is None:
        return {}
    values = {method: own.values for method, own in units.items()}
    dunnett, welch = families.dunnett(values, reference), families.welch_holm(values, reference)
    return {
        method: dict(
            zip(SCRATCH_HEADS, (dunnett.get(method), welch.get(method), hedges_g(own, values[reference])), strict=True)
        )
        for method, own in values.items()
        if method != reference
    }


def shared(a: Units, b: Units) -> tuple[UnitValues, UnitValues]:
    """Return both methods' values on their common seeds; none if the seeds are of different kinds."""
    if a.kind != b.kind:
        return (), ()
    left, right = dict(zip(a.seeds, a.values, strict=True)), dict(zip(b.seeds, b.values, strict=True))
    seeds = [seed for seed in a.seeds if seed in right]
    return tuple(left[seed] for seed in seeds), tuple(right[seed] for seed in seeds)


def _p(test: Callable[[UnitValues, UnitValues], TestResult | None], a: UnitValues, b: UnitValues) -> float | None:
    found = test(a, b)
    return found.p if found else None


def _warning(groups: UnitGroups) -> str | None:
    if len(groups) < 2:
        return None
    return families.power_warning(min(len(values) for _, values in groups), math.comb(len(groups), 2))


# ---- printed tables ----------------------------------------------------------------------------------------------

P_HEADS = {
    "papers": f"t test ({CONVENTION})",
    "welch": "Welch",
    "mann_whitney": "Mann-Whitney",
    "paired_t": "paired t",
    "sign_flip": "sign flip",
    "games_howell": "Games-Howell",
    "t3": "Dunnett T3",
}
CSV_COLUMNS = (
    *("task", "metric", "papers_metric", "method", "n", "unit", "mean", "low", "high", "tie_group", "best"),
    *(f"p_best_{name}" for name in P_HEADS),
    *("p_scratch_dunnett", "p_scratch_welch_holm", "hedges_g_scratch"),
)
SCRATCH_HEADS = {"dunnett": "Dunnett p", "welch_holm": "Welch-Holm p", "hedges_g": "Hedges g"}
LEGEND = (
    "P-values are two-sided; methods are in descending order of their means.",
    f"t test: independent two-sample t test of the best against each other method, {CONVENTION}: given for comparison "
    "with the papers only; it is invalid, since the best was selected from the same data.",
    "Welch, Mann-Whitney, paired t and sign flip are not adjusted either; pairs share a seed.",
    f"Games-Howell and T3 are adjusted for all pairs of methods; tie groups: {TIE_TEST}, {ALPHA}. A group starts with "
    "the best method not yet in a group and includes all others that are not separable from it.",
    "Against scratch: Dunnett and Welch-Holm are adjusted for all methods; Dunnett assumes equal variances and is "
    "anti-conservative where scratch varies most, Welch-Holm is not.",
    "Hedges g: standardised difference from scratch, positive where the method is better.",
)


def _sheet(table: Table, each: Family) -> PrintedTable:
    column = table.columns[each.column]
    footnotes = Footnotes()
    lines = tuple(_line(standing, each, column, footnotes) for standing in each.standings)
    heads = (
        *headings("method", "n", "unit", "mean", "95 % interval", "tie group"),
        *headings(*P_HEADS.values(), group="against the best"),
        *headings(*SCRATCH_HEADS.values(), group=f"against {each.reference or REFERENCE}"),
    )
    title = f"Significance: {column_heading(column).joined}"
    environment = environment_notes(table.select(range(len(table.rows)), [each.column]))
    return PrintedTable(title, heads, lines, tuple(_notes(each)), (*footnotes.lines(), *environment))


def _line(standing: Standing, each: Family, column: MetricColumn, footnotes: Footnotes) -> PrintedRow:
    interval, scale = standing.interval, scale_of(column.metric)
    place = f"{standing.method}/{column.task}"
    return printed_row(
        standing.method,
        str(standing.units.n),
        standing.units.kind,
        PrintedCell(f"{scale * standing.mean:.2f}", standing.best, place, standing.keys),
        f"{scale * interval.low:.2f} to {scale * interval.high:.2f}" if interval else DASH,
        str(standing.tier) if standing.tier else DASH + footnotes.mark(ABSENT),
        *_best_texts(standing, footnotes),
        *_scratch_texts(standing, each, footnotes),
    )


def _best_texts(standing: Standing, footnotes: Footnotes) -> Iterator[str]:
    for name in P_HEADS:
        p = standing.against_best.get(name)
        yield DASH + footnotes.mark(_why_no_test(standing, name)) if p is None else p_text(p)


def _why_no_test(standing: Standing, name: str) -> str:
    if standing.best:
        return ALONE
    if standing.tier is None:
        return ABSENT
    if standing.units.n < MIN_UNITS:
        return FEW
    return UNPAIRED if name in ("paired_t", "sign_flip") else CONSTANT


def _scratch_texts(standing: Standing, each: Family, footnotes: Footnotes) -> Iterator[str]:
    for name in SCRATCH_HEADS:
        value = standing.against_scratch.get(name)
        if value is None:
            yield DASH + footnotes.mark(_why_not_against_scratch(standing, each, name))
        else:
            yield signed(value, plus=True) if name == "hedges_g" else p_text(value)


def _why_not_against_scratch(standing: Standing, each: Family, name: str) -> str:
    if each.reference is None:
        return NO_REFERENCE
    if standing.method == each.reference:
        return ITSELF
    return "fewer than 2 units on one side, or no variation" if name == "hedges_g" else FEW


def p_text(p: float) -> str:
    """Return a p-value with three decimals, or "<0.001"."""
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"


def _notes(each: Family) -> Iterator[str]:
    kinds = {standing.units.kind for standing in each.standings}
    if "fine-tuning" in kinds:
        only = [standing.method for standing in each.standings if standing.units.kind == "fine-tuning"]
        subject = "all methods" if kinds == {"fine-tuning"} else ", ".join(only)
        yield f"One pretraining ({subject}): units are fine-tuning seeds, and results hold for this checkpoint only."
    if "pretraining" in kinds:
        yield "Units are pretraining seeds, each the mean over its fine-tuning seeds."
    if each.found:
        yield f"The best: {each.found.best}."
    if each.warning:
        yield f"Warning: {each.warning}."
    if each.found and not each.found.reason:
        yield "Tie groups: " + " > ".join("{" + ", ".join(tier) + "}" for tier in each.found.tiers)


def _csv(table: Table, found: list[Family]) -> str:
    lines = (_csv_line(table.columns[each.column], standing) for each in found for standing in each.standings)
    return csv_text(CSV_COLUMNS, lines)


def _csv_line(column: MetricColumn, standing: Standing) -> dict[str, object]:
    interval, scratch = standing.interval, standing.against_scratch
    return {
        **vars(column),
        "papers_metric": "yes" if column.role == "parity" else "no",
        "method": standing.method,
        "n": standing.units.n,
        "unit": standing.units.kind,
        "mean": standing.mean,
        "low": stable(interval.low) if interval else None,
        "high": stable(interval.high) if interval else None,
        "tie_group": standing.tier,
        "best": "yes" if standing.best else "no",
        **{f"p_best_{name}": stable(p) for name, p in standing.against_best.items()},
        "p_scratch_dunnett": stable(scratch.get("dunnett")),
        "p_scratch_welch_holm": stable(scratch.get("welch_holm")),
        "hedges_g_scratch": stable(scratch.get("hedges_g")),
    }
