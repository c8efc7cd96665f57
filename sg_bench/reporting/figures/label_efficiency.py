"""Label efficiency: the score of each method against the fraction of labelled training cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING

from sg_bench.evaluation.metrics import higher_is_better, unit_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot
from sg_bench.reporting.figures.style import GREY, MethodStyle, method_styles
from sg_bench.reporting.figures.summaries import (
    Average,
    ScoreRange,
    absent_sentence,
    average,
    axis_range,
    base_of,
    repetitions_text,
    scratch_labels,
    sentences,
    units_sentence,
)
from sg_bench.statistics.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DESCRIPTION = "Mean over units and its 95 % confidence interval (t on the logit scale)."
DASHED = (
    "Dashed: score of training from scratch with all labels. Dotted: the fraction from which a method stays at or "
    "above it, interpolated between the measured points linearly in the logarithm of the fraction."
)


@dataclass(frozen=True)
class LabelCurves:
    """One task: the units of each method at each measured fraction of its training cases."""

    task: str
    metric: str
    units: dict[str, dict[float, Units]] = field(compare=False)

    @cached_property
    def averages(self) -> dict[str, dict[float, Average]]:
        """Means and intervals by method and fraction, fractions rising."""
        return {
            method: {fraction: average(found.values, self.metric) for fraction, found in sorted(units.items())}
            for method, units in self.units.items()
        }

    @property
    def fractions(self) -> list[float]:
        """Return all measured fractions, rising."""
        return sorted({fraction for units in self.units.values() for fraction in units})


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all tasks that were run at two fractions or more, or none."""
    drawn = curves(evidence)
    if not drawn:
        return []
    scratch = scratch_labels(evidence)
    units = [unit for panel in drawn for found in panel.units.values() for unit in found.values()]
    tasks = [task for task in evidence.tasks if base_of(task)[0] in {panel.task for panel in drawn}]
    cut = any(limits(panel)[1] for panel in drawn)
    caption = sentences(
        DESCRIPTION,
        DASHED if any(goal_of(panel, scratch) for panel in drawn) else "",
        units_sentence(units),
        "Intervals may extend beyond the axes." if cut else "",
        savings_sentence(drawn, scratch),
        absent_sentence(evidence, evidence.methods, tasks),
    )
    palette = method_styles(evidence.methods, scratch)
    return [Plot("label-efficiency", "Label efficiency", caption, partial(_draw, drawn, palette, scratch))]


def curves(evidence: Evidence) -> list[LabelCurves]:
    """Return the tasks, without their fractions, that have results at two fractions or more."""
    found: dict[str, LabelCurves] = {}
    for task in evidence.tasks:
        base, fraction = base_of(task)
        metric = evidence.headline(task) or ""
        if unit_of(metric) != "%" or not higher_is_better(metric):
            continue  # the saving of labels is read from a score that rises
        for method in evidence.methods:
            units = evidence.units(method, task, metric)
            if units.n:
                panel = found.setdefault(base, LabelCurves(base, metric, {}))
                panel.units.setdefault(method, {})[fraction] = units
    return [panel for panel in found.values() if len(panel.fractions) > 1]


def crossing_fraction(scores: dict[float, float], goal: float) -> float | None:
    """Return the fraction from which a method's curve stays at `goal` or above, None outside the measured range.

    Args:
        scores: mean score by measured fraction.
        goal: a score; between two measured points the curve is a line over the logarithm of the fraction.
    """
    crossing = None
    for (before, low), (after, high) in pairwise(sorted(scores.items())):
        if low < goal <= high:
            way = (goal - low) / (high - low)
            crossing = math.exp(math.log(before) + way * (math.log(after) - math.log(before)))
        elif high < goal:
            crossing = None
    return crossing


def goal_of(panel: LabelCurves, scratch: Sequence[str]) -> float | None:
    """Return the mean score of scratch with all labels, None if it was not measured."""
    found = [panel.averages[label].get(1.0) for label in scratch if label in panel.units]
    return next((value.mean for value in found if value), None)


def crossings(panel: LabelCurves, scratch: Sequence[str]) -> dict[str, float]:
    """Return the fraction at which each method reaches the score of scratch with all labels, by method."""
    goal = goal_of(panel, scratch)
    if goal is None:
        return {}
    means = {method: {f: v.mean for f, v in found.items()} for method, found in panel.averages.items()}
    found = {method: crossing_fraction(scores, goal) for method, scores in means.items() if method not in scratch}
    return {method: fraction for method, fraction in found.items() if fraction is not None}


def savings_sentence(drawn: Sequence[LabelCurves], scratch: Sequence[str]) -> str:
    """Return the sentence on the labels that each method saves compared with scratch."""
    parts = []
    for panel in drawn:
        found = crossings(panel, scratch)
        listed = ", ".join(f"{method} {_share(f)}" for method, f in found.items())
        if found:
            parts.append(f"{panel.task}: {listed}")
    if not any(goal_of(panel, scratch) for panel in drawn):
        return "Training from scratch was not measured with all labels, so no saving can be stated."
    if not parts:
        return "No method crosses this score from below within the measured range."
    return (
        f"Fraction of the labels that reaches this score (the rest is saved) – {'; '.join(parts)}; "
        "all other methods: not within the measured range."
    )


def limits(panel: LabelCurves) -> tuple[ScoreRange, bool]:
    """Return the range of the score's axis, and whether an interval leaves it."""
    found = [value for by_fraction in panel.averages.values() for value in by_fraction.values()]
    return axis_range([value.mean for value in found], [value.interval for value in found], margin=0.06)


def _share(fraction: float) -> str:
    # A no-break space keeps number and unit on one line.
    return f"{100 * fraction:.0f}\u00a0%" if fraction >= 0.0095 else f"{100 * fraction:.1f}\u00a0%"


def _draw(
    drawn: Sequence[LabelCurves], palette: dict[str, MethodStyle], scratch: Sequence[str], layout: FigureLayout
) -> None:
    from matplotlib.lines import Line2D

    every = [[units for found in panel.units.values() for units in found.values()] for panel in drawn]
    headings = [(panel.task, repetitions_text(units)) for panel, units in zip(drawn, every, strict=True)]
    for axes, panel in zip(layout.charts(headings, min_width=1.6, height=1.85), drawn, strict=True):
        _panel(axes, panel, palette, scratch)
    shown = [method for method in palette if any(method in panel.units for panel in drawn)]
    handles = [
        Line2D([], [], color=style.colour, marker=style.marker, linestyle=style.line)
        for style in (palette[method] for method in shown)
    ]
    layout.legend(handles, shown)


def _panel(axes: Axes, panel: LabelCurves, palette: dict[str, MethodStyle], scratch: Sequence[str]) -> None:
    (low, high), _ = limits(panel)
    axes.set_xscale("log")
    middle = (len(panel.units) - 1) / 2
    for place, (method, found) in enumerate(panel.averages.items()):
        # Shifted slightly, so that no interval hides another.
        _curve(axes, found, palette[method], 1.012 ** (place - middle))
    goal = goal_of(panel, scratch)
    if goal is not None:
        axes.axhline(100 * goal, color=GREY, linestyle="--", lw=0.7, zorder=1)
        for method, fraction in crossings(panel, scratch).items():
            style = palette[method]
            axes.plot(
                [100 * fraction] * 2, [100 * low, 100 * goal], color=style.colour, linestyle=":", lw=0.9, zorder=1
            )
            axes.plot(100 * fraction, 100 * goal, marker=style.marker, color=style.colour, mfc="w", ms=4.5, zorder=6)
    ticks = [100 * fraction for fraction in panel.fractions]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(100 * low, 100 * high)
    axes.grid()
    axes.set_xlabel("labelled cases (% of all)")
    axes.set_ylabel(f"{panel.metric} (%)")


def _curve(axes: Axes, found: dict[float, Average], style: MethodStyle, dodge: float) -> None:
    places = [100 * fraction * dodge for fraction in found]
    axes.plot(places, [100 * value.mean for value in found.values()], color=style.colour, linestyle=style.line,
              marker=style.marker, ms=3.2)  # fmt: skip
    for place, value in zip(places, found.values(), strict=True):
        if value.interval:
            axes.plot([place] * 2, [100 * end for end in value.interval], color=style.colour, lw=0.7, alpha=0.8)
