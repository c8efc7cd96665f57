"""Scores: the mean of each method on each task with its interval, as dots."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot, charts_with_named_rows, write_counts
from sg_bench.reporting.figures.style import BLUE, GREY, PALE
from sg_bench.reporting.figures.summaries import (
    Average,
    ScoreRange,
    absent_sentence,
    average,
    axis_range,
    fraction_tasks,
    fractions_sentence,
    full_tasks,
    repetitions_text,
    scratch_labels,
    sentences,
    tables_sentence,
    units_sentence,
)
from sg_bench.statistics.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DESCRIPTION = "Mean over units and its 95 % confidence interval (t on the logit scale); pale dots: units."
BEYOND = "Intervals may extend beyond the axes."
REFERENCE = "Dashed: the mean of training from scratch."


@dataclass(frozen=True)
class ScorePanel:
    """One task: the units of each method that has any."""

    task: str
    metric: str
    units: dict[str, Units] = field(compare=False)

    @cached_property
    def averages(self) -> dict[str, Average]:
        """Means and intervals by method."""
        return {method: average(units.values, self.metric) for method, units in self.units.items()}

    @property
    def limits(self) -> tuple[ScoreRange, bool]:
        """Return the range of the score's axis, and whether an interval leaves it."""
        values = [value for units in self.units.values() for value in units.values]
        return axis_range(values, [found.interval for found in self.averages.values()], margin=0.06)


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all methods and tasks, or none without results."""
    drawn = panels(evidence, evidence.methods)
    if not drawn:
        return []
    scratch = scratch_labels(evidence)
    caption = sentences(
        DESCRIPTION,
        REFERENCE if any(label in panel.units for panel in drawn for label in scratch) else "",
        units_sentence(unit for panel in drawn for unit in panel.units.values()),
        BEYOND if any(panel.limits[1] for panel in drawn) else "",
        fractions_sentence(evidence),
        tables_sentence(evidence),
        absent_sentence(evidence, evidence.methods, full_tasks(evidence)),
    )
    methods = [method for method in evidence.methods if any(method in panel.units for panel in drawn)]
    return [Plot("scores", "Scores of all methods", caption, partial(_draw, drawn, methods, scratch))]


def panels(evidence: Evidence, methods: Iterable[str]) -> list[ScorePanel]:
    """Return a panel for each task in which one of `methods` has a score under the headline metric."""
    found = []
    for task in fraction_tasks(evidence):
        metric = evidence.headline(task) or ""
        units = {method: evidence.units(method, task, metric) for method in dict.fromkeys(methods)}
        scored = {method: unit for method, unit in units.items() if unit.n}
        if scored:
            found.append(ScorePanel(task, metric, scored))
    return found


def _draw(drawn: Sequence[ScorePanel], methods: Sequence[str], scratch: Collection[str], layout: FigureLayout) -> None:
    headings = [(panel.task, repetitions_text(panel.units.values())) for panel in drawn]
    for axes, panel in zip(charts_with_named_rows(layout, headings, methods, row=0.17), drawn, strict=True):
        for place, method in enumerate(methods):
            if method in panel.units:
                draw_score(axes, place, panel, method, GREY if method in scratch else BLUE)
        for label in scratch:
            if label in panel.averages:
                axes.axvline(100 * panel.averages[label].mean, color=GREY, linestyle="--", lw=0.7, zorder=1)
        (low, high), _ = panel.limits
        axes.set_xlim(100 * low, 100 * high)
        axes.locator_params(axis="x", nbins=4 if layout.narrow else 6)
        write_counts(axes, [panel.units[method].n if method in panel.units else None for method in methods])
        axes.set_xlabel(f"{panel.metric} (%)")


def draw_score(axes: Axes, place: float, panel: ScorePanel, method: str, colour: str, face: str = "") -> None:
    """Draw the units, the interval and the mean of a method at a height of the axes."""
    values, found = panel.units[method].values, panel.averages[method]
    axes.plot([100 * value for value in values], [place] * len(values), "o", color=PALE, ms=2.4, mew=0, zorder=2)
    if found.interval:
        axes.plot([100 * end for end in found.interval], [place] * 2, color=colour, lw=1.1, zorder=3)
    axes.plot(100 * found.mean, place, "o", color=colour, mfc=face or colour, ms=4.2, mew=0.9, zorder=4)
