"""What the papers' add-on brings: each method without and with semantics, as bars with brackets of significance.

Where a suite has no such pair, all its methods stand side by side in the same style instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.sheet import Plot, Sheet, across_rows, counts_beside, cut_mark
from sg_bench.reporting.figures.style import BLUE, HATCHES, PALE, SMALL, Look, folded, looks
from sg_bench.reporting.figures.summaries import (
    Average,
    about_fractions,
    about_units,
    absent,
    average,
    full_tasks,
    p_value,
    repetitions,
    said_p,
    scratches,
    sentences,
)
from sg_bench.statistics.families import holm
from sg_bench.statistics.two_sample import MIN_UNITS
from sg_bench.statistics.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIX = "+semantics"
BASE, ADDED = "base method", "base method + semantics"
PAPERS_PAIR = ("models_genesis", "semantic_genesis")
"""The papers call Semantic Genesis Models Genesis with semantics, and draw it so."""
ERROR_BARS = "Bars: mean over units; error bars: ± one standard deviation (ddof 1)."
CUT = "Axes marked // do not start at zero."


@dataclass(frozen=True)
class Pair:
    """Two labels: a method, and the same with semantics."""

    base: str
    added: str

    @property
    def name(self) -> str:
        """Return what the pair is called on the axis."""
        return self.base if self.added == self.base + SUFFIX else f"{self.base} / {self.added}"


@dataclass(frozen=True)
class Panel:
    """One task: the units of each method that has any."""

    task: str
    metric: str
    units: dict[str, Units] = field(compare=False)

    @cached_property
    def averages(self) -> dict[str, Average]:
        """Means and standard deviations by method."""
        return {method: average(units.values) for method, units in self.units.items()}

    @property
    def range(self) -> tuple[float, float]:
        """Return from where to where, in percent, an axis must go for bars with error bars; zero unless far off."""
        spreads = [(found.mean, found.std or 0.0) for found in self.averages.values()]
        low, high = min(m - s for m, s in spreads), max(m + s for m, s in spreads)
        floor = low - 0.35 * max(high - low, 0.02)
        return (100 * floor if floor > 0.25 * high else 0.0), 100 * min(max(high, 0.01), 1.0)


def plots(evidence: Evidence) -> list[Plot]:
    """Return the add-on chart, or where the suite has no pair the chart of all methods; none without a result."""
    found = pairs(evidence)
    methods = [label for pair in found for label in (pair.base, pair.added)] if found else evidence.methods
    drawn = panels(evidence, methods)
    if not drawn:
        return []
    units = [unit for panel in drawn for unit in panel.units.values()]
    missing = sentences(about_fractions(evidence), absent(evidence, list(dict.fromkeys(methods)), full_tasks(evidence)))
    cut = CUT if any(panel.range[0] > 0 for panel in drawn) else ""
    if not found:
        shared = sentences(ERROR_BARS, about_units(units), cut, "No test was made.", missing)
        palette = looks(evidence.methods, scratches(evidence))
        return [Plot("methods", "All methods, task by task", shared, partial(_methods, drawn, methods, palette))]
    p_values = [adjusted_p(panel, found) for panel in drawn]
    caption = sentences(ERROR_BARS, about_units(units), cut, _about_tests(drawn, found, p_values), missing)
    return [Plot("addon", "What semantics add to a method", caption, partial(_addon, drawn, found, p_values))]


def pairs(evidence: Evidence) -> list[Pair]:
    """Return the pairs in the order of the suite, the papers' own among them.

    A method is known by its label, and by its registered name where no other label has that name.
    """
    labels = evidence.methods
    names = [evidence.method_name(label) for label in labels]
    unique = {name: label for name, label in zip(names, labels, strict=True) if names.count(name) == 1}
    known = unique | {label: label for label in labels}
    found = [Pair(base, known[name + SUFFIX]) for name, base in known.items() if name + SUFFIX in known]
    if all(name in known for name in PAPERS_PAIR):
        found.append(Pair(known[PAPERS_PAIR[0]], known[PAPERS_PAIR[1]]))
    return sorted(dict.fromkeys(found), key=lambda pair: (labels.index(pair.base), labels.index(pair.added)))


def panels(evidence: Evidence, methods: Iterable[str]) -> list[Panel]:
    """Return a panel for each task in which one of `methods` has a score under the headline metric."""
    found = []
    for task in full_tasks(evidence):
        metric = evidence.headline(task) or ""
        units = {method: evidence.units(method, task, metric) for method in dict.fromkeys(methods)}
        scored = {method: unit for method, unit in units.items() if unit.n}
        if scored:
            found.append(Panel(task, metric, scored))
    return found


def adjusted_p(panel: Panel, pairs: Sequence[Pair]) -> dict[Pair, float]:
    """Return Holm's p of each pair that can be tested; the family is the pairs of one task."""
    found = {
        pair: p
        for pair in pairs
        if pair.base in panel.units and pair.added in panel.units
        if (p := p_value(panel.units[pair.base], panel.units[pair.added])) is not None
    }
    return holm(found)


def _about_tests(drawn: Sequence[Panel], pairs: Sequence[Pair], p_values: Sequence[dict[Pair, float]]) -> str:
    comparisons = [(panel, pair) for panel in drawn for pair in pairs if {pair.base, pair.added} <= panel.units.keys()]
    if not comparisons:
        return "No test was made: of no pair are both measured."
    count = sum(len(found) for found in p_values)
    rule = "Brackets: Welch's t-test on units, Holm-adjusted over the pairs of a task; n.s.: p ≥ 0.05." if count else ""
    if count == len(comparisons):
        return rule
    few = any(panel.units[label].n < MIN_UNITS for panel, pair in comparisons for label in (pair.base, pair.added))
    why = f"fewer than {MIN_UNITS} units" if few else "units of two kinds, or no spread"
    return f"{rule} No bracket, no test: {why}." if count else f"No test was made: {why}."


def _addon(drawn: Sequence[Panel], pairs: Sequence[Pair], p_values: Sequence[dict[Pair, float]], sheet: Sheet) -> None:
    from matplotlib.patches import Patch

    headings = [(panel.task, repetitions(panel.units.values())) for panel in drawn]
    every = sheet.charts(headings, least=0.45 + 0.72 * max(len(pairs), 1.5), height=1.6)
    for axes, panel, found in zip(every, drawn, p_values, strict=True):
        _pairs(axes, panel, pairs, found)
        width = (sheet.share(axes) - 0.5) / len(pairs) - 0.06
        labels = [folded(_counted(pair.name, panel, (pair.base, pair.added)), width) for pair in pairs]
        axes.set_xticks(range(len(pairs)), labels, linespacing=1.05)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"{panel.metric} (%)")
        axes.grid(axis="y")
        if panel.range[0] > 0:
            cut_mark(axes, "y")
    sheet.legend(
        [Patch(facecolor=PALE, edgecolor="k", lw=0.5), Patch(facecolor=BLUE, edgecolor="w", hatch=HATCHES[1])],
        [BASE, ADDED],
    )


def _pairs(axes: Axes, panel: Panel, pairs: Sequence[Pair], p_values: dict[Pair, float]) -> None:
    low, high = panel.range
    step = (high - low) * 0.07
    for place, pair in enumerate(pairs):
        top = low
        for label, offset, colour, hatch, edge in (
            (pair.base, -0.2, PALE, "", "k"),
            (pair.added, 0.2, BLUE, HATCHES[1], "w"),
        ):
            if label in panel.averages:
                found = panel.averages[label]
                _bar(axes, place + offset, found, colour, hatch, edge)
                top = max(top, 100 * (found.mean + (found.std or 0.0)))
        if pair in p_values:
            height = top + step
            axes.plot(
                [place - 0.2, place - 0.2, place + 0.2, place + 0.2],
                [height - step / 2, height, height, height - step / 2], color="k", lw=0.6,
            )  # fmt: skip
            axes.text(place, height + step / 5, said_p(p_values[pair]), ha="center", va="bottom", fontsize=SMALL)
    spare = max(0.0, (1.7 - len(pairs)) / 2)
    axes.set_xlim(-0.55 - spare, len(pairs) - 0.45 + spare)
    axes.set_ylim(low, high + (high - low) * (0.28 if p_values else 0.08))
    axes.locator_params(axis="y", nbins=6, min_n_ticks=4)
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high + step, 100)])


def _bar(axes: Axes, place: float, found: Average, colour: str, hatch: str, edge: str) -> None:
    axes.bar(place, 100 * found.mean, width=0.38, facecolor=colour, edgecolor=edge, hatch=hatch, lw=0.5)
    if found.std is not None:
        axes.errorbar(place, 100 * found.mean, 100 * found.std, color="k", capsize=1.8, elinewidth=0.7, capthick=0.7)


def _counted(name: str, panel: Panel, labels: Sequence[str]) -> str:
    """Return a name with its own numbers of units where a panel's differ."""
    if len({units.n for units in panel.units.values()}) == 1:
        return name
    counts = [str(panel.units[label].n) for label in labels if label in panel.units]
    return f"{name} (n={'/'.join(dict.fromkeys(counts))})" if counts else name


def _methods(drawn: Sequence[Panel], methods: Sequence[str], palette: dict[str, Look], sheet: Sheet) -> None:
    shown = [method for method in methods if any(method in panel.units for panel in drawn)]
    headings = [(panel.task, repetitions(panel.units.values())) for panel in drawn]
    for axes, panel in zip(across_rows(sheet, headings, shown, row=0.2), drawn, strict=True):
        low, high = panel.range
        for place, method in enumerate(shown):
            if method not in panel.averages:
                continue
            look, value = palette[method], panel.averages[method]
            axes.barh(
                place, 100 * value.mean, height=0.72, facecolor=look.colour, edgecolor="w", hatch=look.hatch, lw=0.5
            )
            if value.std is not None:
                axes.errorbar(
                    100 * value.mean, place, xerr=100 * value.std, color="k", capsize=1.8, elinewidth=0.7, capthick=0.7
                )
        axes.set_xlim(low, high + (high - low) * 0.06)
        counts_beside(axes, [panel.units[method].n if method in panel.units else None for method in shown])
        axes.locator_params(axis="x", nbins=4 if sheet.narrow else 6)
        axes.set_xlabel(f"{panel.metric} (%)")
        if low > 0:
            cut_mark(axes, "x")
