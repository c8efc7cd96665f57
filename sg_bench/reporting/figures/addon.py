"""Bar chart of each method without and with semantics, with brackets for significance.

For a suite without such a pair, a bar chart of all methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot, charts_with_named_rows, cut_mark, write_counts
from sg_bench.reporting.figures.style import BLUE, HATCHES, PALE, SMALL, MethodStyle, fold_label, method_styles
from sg_bench.reporting.figures.summaries import (
    Average,
    absent_sentence,
    average,
    fraction_tasks,
    fractions_sentence,
    full_tasks,
    p_label,
    p_value,
    repetitions_text,
    scratch_labels,
    sentences,
    tables_sentence,
    units_sentence,
)
from sg_bench.statistics.families import holm
from sg_bench.statistics.two_sample import MIN_UNITS
from sg_bench.statistics.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIX = "+semantics"
BASE, ADDED = "base method", "base method + semantics"
PAPERS_PAIR = ("models_genesis", "semantic_genesis")
"""The papers treat Semantic Genesis as Models Genesis with semantics."""
ERROR_BARS = "Bars: mean over units; error bars: ± one standard deviation (ddof 1)."
CUT = "Axes marked // do not start at zero."


@dataclass(frozen=True)
class SemanticsPair:
    """Two labels: a method, and the same with semantics."""

    base: str
    added: str

    @property
    def name(self) -> str:
        """Return the label of the pair on the axis."""
        return self.base if self.added == self.base + SUFFIX else f"{self.base} / {self.added}"


@dataclass(frozen=True)
class BarPanel:
    """One task: the units of each method that has any."""

    task: str
    metric: str
    units: dict[str, Units] = field(compare=False)

    @cached_property
    def averages(self) -> dict[str, Average]:
        """Means and standard deviations by method."""
        return {method: average(units.values, self.metric) for method, units in self.units.items()}

    @property
    def range(self) -> tuple[float, float]:
        """Return the limits of the axis in percent; it starts at zero unless all values are far above it."""
        spreads = [(found.mean, found.std or 0.0) for found in self.averages.values()]
        low, high = min(m - s for m, s in spreads), max(m + s for m, s in spreads)
        floor = low - 0.35 * max(high - low, 0.02)
        return (100 * floor if floor > 0.25 * high else 0.0), 100 * min(max(high, 0.01), 1.0)


def plots(evidence: Evidence) -> list[Plot]:
    """Return the add-on chart, or the chart of all methods if the suite has no pair; none without results."""
    found = pairs(evidence)
    methods = [label for pair in found for label in (pair.base, pair.added)] if found else evidence.methods
    drawn = panels(evidence, methods)
    if not drawn:
        return []
    units = [unit for panel in drawn for unit in panel.units.values()]
    missing = sentences(
        fractions_sentence(evidence),
        tables_sentence(evidence),
        absent_sentence(evidence, list(dict.fromkeys(methods)), full_tasks(evidence)),
    )
    cut = CUT if any(panel.range[0] > 0 for panel in drawn) else ""
    if not found:
        shared = sentences(ERROR_BARS, units_sentence(units), cut, "No test was made.", missing)
        palette = method_styles(evidence.methods, scratch_labels(evidence))
        return [Plot("methods", "All methods, task by task", shared, partial(_methods, drawn, methods, palette))]
    p_values = [adjusted_p(panel, found) for panel in drawn]
    caption = sentences(ERROR_BARS, units_sentence(units), cut, _about_tests(drawn, found, p_values), missing)
    return [Plot("addon", "Effect of adding semantics to a method", caption, partial(_addon, drawn, found, p_values))]


def pairs(evidence: Evidence) -> list[SemanticsPair]:
    """Return the pairs in the order of the suite, including the papers' own.

    A method is found by its label, or by its registered name if only one label has that name.
    """
    labels = evidence.methods
    names = [evidence.method_name(label) for label in labels]
    unique = {name: label for name, label in zip(names, labels, strict=True) if names.count(name) == 1}
    known = unique | {label: label for label in labels}
    found = [SemanticsPair(base, known[name + SUFFIX]) for name, base in known.items() if name + SUFFIX in known]
    if all(name in known for name in PAPERS_PAIR):
        found.append(SemanticsPair(known[PAPERS_PAIR[0]], known[PAPERS_PAIR[1]]))
    return sorted(dict.fromkeys(found), key=lambda pair: (labels.index(pair.base), labels.index(pair.added)))


def panels(evidence: Evidence, methods: Iterable[str]) -> list[BarPanel]:
    """Return a panel for each task in which one of `methods` has a score under the headline metric."""
    found = []
    for task in fraction_tasks(evidence):
        metric = evidence.headline(task) or ""
        units = {method: evidence.units(method, task, metric) for method in dict.fromkeys(methods)}
        scored = {method: unit for method, unit in units.items() if unit.n}
        if scored:
            found.append(BarPanel(task, metric, scored))
    return found


def adjusted_p(panel: BarPanel, pairs: Sequence[SemanticsPair]) -> dict[SemanticsPair, float]:
    """Return the Holm-adjusted p-value of each testable pair; the family is the pairs of one task."""
    found = {
        pair: p
        for pair in pairs
        if pair.base in panel.units and pair.added in panel.units
        if (p := p_value(panel.units[pair.base], panel.units[pair.added])) is not None
    }
    return holm(found)


def _about_tests(
    drawn: Sequence[BarPanel], pairs: Sequence[SemanticsPair], p_values: Sequence[dict[SemanticsPair, float]]
) -> str:
    comparisons = [(panel, pair) for panel in drawn for pair in pairs if {pair.base, pair.added} <= panel.units.keys()]
    if not comparisons:
        return "No test was made: no pair has results of both methods."
    count = sum(len(found) for found in p_values)
    rule = "Brackets: Welch's t-test on units, Holm-adjusted over the pairs of a task; n.s.: p ≥ 0.05." if count else ""
    if count == len(comparisons):
        return rule
    few = any(panel.units[label].n < MIN_UNITS for panel, pair in comparisons for label in (pair.base, pair.added))
    why = f"fewer than {MIN_UNITS} units" if few else "units of two kinds, or no spread"
    return f"{rule} Pairs without a bracket were not tested: {why}." if count else f"No test was made: {why}."


def _addon(
    drawn: Sequence[BarPanel],
    pairs: Sequence[SemanticsPair],
    p_values: Sequence[dict[SemanticsPair, float]],
    layout: FigureLayout,
) -> None:
    from matplotlib.patches import Patch

    headings = [(panel.task, repetitions_text(panel.units.values())) for panel in drawn]
    every = layout.charts(headings, min_width=0.45 + 0.72 * max(len(pairs), 1.5), height=1.6)
    for axes, panel, found in zip(every, drawn, p_values, strict=True):
        _pairs(axes, panel, pairs, found)
        width = (layout.share(axes) - 0.5) / len(pairs) - 0.06
        labels = [fold_label(_counted(pair.name, panel, (pair.base, pair.added)), width) for pair in pairs]
        axes.set_xticks(range(len(pairs)), labels, linespacing=1.05)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"{panel.metric} (%)")
        axes.grid(axis="y")
        if panel.range[0] > 0:
            cut_mark(axes, "y")
    layout.legend(
        [Patch(facecolor=PALE, edgecolor="k", lw=0.5), Patch(facecolor=BLUE, edgecolor="w", hatch=HATCHES[1])],
        [BASE, ADDED],
    )


def _pairs(axes: Axes, panel: BarPanel, pairs: Sequence[SemanticsPair], p_values: dict[SemanticsPair, float]) -> None:
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
            axes.text(place, height + step / 5, p_label(p_values[pair]), ha="center", va="bottom", fontsize=SMALL)
    spare = max(0.0, (1.7 - len(pairs)) / 2)
    axes.set_xlim(-0.55 - spare, len(pairs) - 0.45 + spare)
    axes.set_ylim(low, high + (high - low) * (0.28 if p_values else 0.08))
    axes.locator_params(axis="y", nbins=6, min_n_ticks=4)
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high + step, 100)])


def _bar(axes: Axes, place: float, found: Average, colour: str, hatch: str, edge: str) -> None:
    axes.bar(place, 100 * found.mean, width=0.38, facecolor=colour, edgecolor=edge, hatch=hatch, lw=0.5)
    if found.std is not None:
        axes.errorbar(place, 100 * found.mean, 100 * found.std, color="k", capsize=1.8, elinewidth=0.7, capthick=0.7)


def _counted(name: str, panel: BarPanel, labels: Sequence[str]) -> str:
    """Return a name, with its numbers of units if those of the panel differ."""
    if len({units.n for units in panel.units.values()}) == 1:
        return name
    counts = [str(panel.units[label].n) for label in labels if label in panel.units]
    return f"{name} (n={'/'.join(dict.fromkeys(counts))})" if counts else name


def _methods(
    drawn: Sequence[BarPanel], methods: Sequence[str], palette: dict[str, MethodStyle], layout: FigureLayout
) -> None:
    shown = [method for method in methods if any(method in panel.units for panel in drawn)]
    headings = [(panel.task, repetitions_text(panel.units.values())) for panel in drawn]
    for axes, panel in zip(charts_with_named_rows(layout, headings, shown, row=0.2), drawn, strict=True):
        low, high = panel.range
        for place, method in enumerate(shown):
            if method not in panel.averages:
                continue
            style, value = palette[method], panel.averages[method]
            axes.barh(
                place, 100 * value.mean, height=0.72, facecolor=style.colour, edgecolor="w", hatch=style.hatch, lw=0.5
            )
            if value.std is not None:
                axes.errorbar(
                    100 * value.mean, place, xerr=100 * value.std, color="k", capsize=1.8, elinewidth=0.7, capthick=0.7
                )
        axes.set_xlim(low, high + (high - low) * 0.06)
        write_counts(axes, [panel.units[method].n if method in panel.units else None for method in shown])
        axes.locator_params(axis="x", nbins=4 if layout.narrow else 6)
        axes.set_xlabel(f"{panel.metric} (%)")
        if low > 0:
            cut_mark(axes, "x")
