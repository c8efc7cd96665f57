"""How many labels a method saves: its score against the share of the training cases that it was given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.sheet import Plot, Sheet
from sg_bench.reporting.figures.style import GREY, Look, looks
from sg_bench.reporting.figures.summaries import (
    Average,
    Span,
    about_units,
    absent,
    average,
    base_of,
    repetitions,
    scratches,
    sentences,
    view,
)
from sg_bench.statistics.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW = "Mean and 95 % t-interval over units."
DASHED = (
    "Dashed: the score of training from scratch with all labels; where a method "
    "reaches it and stays there (dotted line) is interpolated between the measured points, linearly in the logarithm "
    "of the share."
)


@dataclass(frozen=True)
class Curves:
    """One task: the units of each method at each measured fraction of its training cases."""

    task: str
    metric: str
    units: dict[str, dict[float, Units]] = field(compare=False)

    @cached_property
    def averages(self) -> dict[str, dict[float, Average]]:
        """Means and intervals by method and fraction, fractions rising."""
        return {
            method: {fraction: average(found.values) for fraction, found in sorted(units.items())}
            for method, units in self.units.items()
        }

    @property
    def fractions(self) -> list[float]:
        """Return all measured fractions, rising."""
        return sorted({fraction for units in self.units.values() for fraction in units})


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all tasks that were run at two fractions or more, none if there is no such task."""
    drawn = curves(evidence)
    if not drawn:
        return []
    plain = scratches(evidence)
    units = [unit for panel in drawn for found in panel.units.values() for unit in found.values()]
    tasks = [task for task in evidence.tasks if base_of(task)[0] in {panel.task for panel in drawn}]
    cut = any(limits(panel)[1] for panel in drawn)
    caption = sentences(
        HOW,
        DASHED if any(goal_of(panel, plain) for panel in drawn) else "",
        about_units(units),
        "Intervals that run out of a panel go on beyond it." if cut else "",
        saved(drawn, plain),
        absent(evidence, evidence.methods, tasks),
    )
    palette = looks(evidence.methods, plain)
    return [Plot("label-efficiency", "Label efficiency", caption, partial(_draw, drawn, palette, plain))]


def curves(evidence: Evidence) -> list[Curves]:
    """Return the tasks, without their fractions, that have results at two fractions or more."""
    found: dict[str, Curves] = {}
    for task in evidence.tasks:
        base, fraction = base_of(task)
        metric = evidence.headline(task) or ""
        for method in evidence.methods:
            units = evidence.units(method, task, metric)
            if units.n:
                panel = found.setdefault(base, Curves(base, metric, {}))
                panel.units.setdefault(method, {})[fraction] = units
    return [panel for panel in found.values() if len(panel.fractions) > 1]


def reached(scores: dict[float, float], goal: float) -> float | None:
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


def goal_of(panel: Curves, plain: Sequence[str]) -> float | None:
    """Return scratch's mean score with all labels, None where that was not measured."""
    found = [panel.averages[label].get(1.0) for label in plain if label in panel.units]
    return next((value.mean for value in found if value), None)


def crossings(panel: Curves, plain: Sequence[str]) -> dict[str, float]:
    """Return the fraction at which each method reaches scratch's full-label score, where that was measured."""
    goal = goal_of(panel, plain)
    if goal is None:
        return {}
    means = {method: {f: v.mean for f, v in found.items()} for method, found in panel.averages.items()}
    found = {method: reached(scores, goal) for method, scores in means.items() if method not in plain}
    return {method: fraction for method, fraction in found.items() if fraction is not None}


def saved(drawn: Sequence[Curves], plain: Sequence[str]) -> str:
    """Return the sentence on the labels that each method saves against scratch."""
    told = []
    for panel in drawn:
        found = crossings(panel, plain)
        listed = ", ".join(f"{method} {_share(f)}" for method, f in found.items())
        if found:
            told.append(f"{panel.task}: {listed}")
    if not any(goal_of(panel, plain) for panel in drawn):
        return "Training from scratch was not measured with all labels, so no saving can be stated."
    if not told:
        return "Within the measured range no method crosses that score from below."
    return (
        f"Share of the labels that reaches it (the rest is saved) – {'; '.join(told)}; "
        "every other method: not within the measured range."
    )


def limits(panel: Curves) -> tuple[Span, bool]:
    """Return the range of the score's axis, and whether an interval leaves it."""
    found = [value for by_fraction in panel.averages.values() for value in by_fraction.values()]
    return view([value.mean for value in found], [value.interval for value in found], room=0.06)


def _share(fraction: float) -> str:
    # Held together by a space that no line breaks at.
    return f"{100 * fraction:.0f}\u00a0%" if fraction >= 0.0095 else f"{100 * fraction:.1f}\u00a0%"


def _draw(drawn: Sequence[Curves], palette: dict[str, Look], plain: Sequence[str], sheet: Sheet) -> None:
    from matplotlib.lines import Line2D

    every = [[units for found in panel.units.values() for units in found.values()] for panel in drawn]
    headings = [(panel.task, repetitions(units)) for panel, units in zip(drawn, every, strict=True)]
    for axes, panel in zip(sheet.charts(headings, least=1.6, height=1.85), drawn, strict=True):
        _panel(axes, panel, palette, plain)
    shown = [method for method in palette if any(method in panel.units for panel in drawn)]
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line)
        for look in (palette[method] for method in shown)
    ]
    sheet.legend(handles, shown)


def _panel(axes: Axes, panel: Curves, palette: dict[str, Look], plain: Sequence[str]) -> None:
    (low, high), _ = limits(panel)
    axes.set_xscale("log")
    middle = (len(panel.units) - 1) / 2
    for place, (method, found) in enumerate(panel.averages.items()):
        # Side by side, so that no interval hides another.
        _curve(axes, found, palette[method], 1.012 ** (place - middle))
    goal = goal_of(panel, plain)
    if goal is not None:
        axes.axhline(100 * goal, color=GREY, linestyle="--", lw=0.7, zorder=1)
        for method, fraction in crossings(panel, plain).items():
            look = palette[method]
            axes.plot([100 * fraction] * 2, [100 * low, 100 * goal], color=look.colour, linestyle=":", lw=0.9, zorder=1)
            axes.plot(100 * fraction, 100 * goal, marker=look.marker, color=look.colour, mfc="w", ms=4.5, zorder=6)
    ticks = [100 * fraction for fraction in panel.fractions]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(100 * low, 100 * high)
    axes.grid()
    axes.set_xlabel("labelled cases (% of all)")
    axes.set_ylabel(f"{panel.metric} (%)")


def _curve(axes: Axes, found: dict[float, Average], look: Look, dodge: float) -> None:
    places = [100 * fraction * dodge for fraction in found]
    axes.plot(places, [100 * value.mean for value in found.values()], color=look.colour, linestyle=look.line,
              marker=look.marker, ms=3.2)  # fmt: skip
    for place, value in zip(places, found.values(), strict=True):
        if value.interval:
            axes.plot([place] * 2, [100 * end for end in value.interval], color=look.colour, lw=0.7, alpha=0.8)
