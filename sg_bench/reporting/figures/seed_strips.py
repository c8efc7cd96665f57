"""How much of a score is luck: every run a dot, the pretraining seeds apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.sheet import Plot, Sheet, across_rows, counts_beside
from sg_bench.reporting.figures.style import COLOURS, MARKERS
from sg_bench.reporting.figures.summaries import (
    Average,
    Span,
    about_fractions,
    about_units,
    absent,
    average,
    full_tasks,
    repetitions,
    sentences,
    view,
)
from sg_bench.statistics.units import SeedPair, Units, units_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

HOW = "Each dot is a run. Black: mean over units and its 95 % t-interval."
LANES = "Each pretraining seed has a lane, a marker and a colour of its own; its stroke is the mean of its runs."


@dataclass(frozen=True)
class Strip:
    """One method on one task."""

    scores: dict[SeedPair, float]
    units: Units

    @cached_property
    def average(self) -> Average:
        """Mean and interval over units."""
        return average(self.units.values)

    def of(self, pretraining_seed: int) -> list[float]:
        """Return the scores of the runs that start from one pretraining."""
        return [score for (seed, _), score in sorted(self.scores.items()) if seed == pretraining_seed]


@dataclass(frozen=True)
class Panel:
    """One task: the strips of all methods that have a score."""

    task: str
    metric: str
    strips: dict[str, Strip] = field(compare=False)

    @property
    def limits(self) -> tuple[Span, bool]:
        """Return the range of the score's axis, and whether an interval leaves it."""
        scores = [score for strip in self.strips.values() for score in strip.scores.values()]
        return view(scores, [strip.average.interval for strip in self.strips.values()], room=0.05)


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all tasks that have a result."""
    drawn = [panel for task in full_tasks(evidence) if (panel := panel_of(evidence, task)).strips]
    if not drawn:
        return []
    seeds = sorted({seed for panel in drawn for strip in panel.strips.values() for seed, _ in strip.scores})
    methods = [method for method in evidence.methods if any(method in panel.strips for panel in drawn)]
    caption = sentences(
        HOW,
        LANES if len(seeds) > 1 else "",
        about_units(strip.units for panel in drawn for strip in panel.strips.values()),
        "Intervals that run out of a panel go on beyond it." if any(panel.limits[1] for panel in drawn) else "",
        about_fractions(evidence),
        absent(evidence, evidence.methods, full_tasks(evidence)),
    )
    return [Plot("seed-spread", "Spread over seeds", caption, partial(_draw, drawn, methods, seeds))]


def panel_of(evidence: Evidence, task: str) -> Panel:
    """Return the strips of all methods on a task, under its headline metric."""
    metric = evidence.headline(task) or ""
    scores = {method: evidence.scores(method, task, metric) for method in evidence.methods}
    return Panel(task, metric, {m: Strip(found, units_of(found)) for m, found in scores.items() if found})


def _draw(drawn: Sequence[Panel], methods: Sequence[str], seeds: Sequence[int], sheet: Sheet) -> None:
    headings = [(panel.task, repetitions(strip.units for strip in panel.strips.values())) for panel in drawn]
    charts = across_rows(sheet, headings, methods, row=0.13 + 0.07 * min(len(seeds), 6))
    for axes, panel in zip(charts, drawn, strict=True):
        for place, method in enumerate(methods):
            if place:
                axes.axhline(place - 0.5, color="#D8D8D8", lw=0.5)
            if method in panel.strips:
                _strip(axes, place, panel.strips[method], seeds)
        (low, high), _ = panel.limits
        axes.set_xlim(100 * low, 100 * high)
        axes.locator_params(axis="x", nbins=4 if sheet.narrow else 6)
        counts_beside(axes, [panel.strips[m].units.n if m in panel.strips else None for m in methods])
        axes.set_xlabel(f"{panel.metric} (%)")
    sheet.legend(*_legend(seeds))


def _strip(axes: Axes, place: int, strip: Strip, seeds: Sequence[int]) -> None:
    """Draw the lanes of one method from the top, and beneath them its mean and interval."""
    lanes = len(seeds) + 1
    for lane, seed in enumerate(seeds):
        scores = [100 * score for score in strip.of(seed)]
        if not scores:
            continue
        height = place - 0.42 + 0.84 * (lane + 0.5) / lanes
        axes.plot(
            scores, [height] * len(scores), MARKERS[seed_look(seeds, seed) % len(MARKERS)], ms=3.2, mew=0, alpha=0.75,
            color=COLOURS[seed_look(seeds, seed) % len(COLOURS)], zorder=3,
        )  # fmt: skip
        if len(seeds) > 1:
            mean = statistics.fmean(scores)
            axes.plot([mean] * 2, [height - 0.36 / lanes, height + 0.36 / lanes], color="k", lw=0.9, zorder=4)
    found, foot = strip.average, place - 0.42 + 0.84 * (lanes - 0.5) / lanes
    axes.plot(100 * found.mean, foot, "d", color="k", ms=3.6, mew=0, zorder=5)
    if found.interval:
        axes.plot([100 * end for end in found.interval], [foot] * 2, color="k", lw=1.0, zorder=4)


def seed_look(seeds: Sequence[int], seed: int) -> int:
    """Return the place of a pretraining seed in the cycles of markers and colours."""
    return list(seeds).index(seed)


def _legend(seeds: Sequence[int]) -> tuple[list[Artist], list[str]]:
    from matplotlib.lines import Line2D

    dots: list[Artist] = [
        Line2D([], [], linestyle="none", marker=MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], ms=3.6)
        for i in range(len(seeds))
    ]
    mean = Line2D([], [], marker="d", color="k", ms=3.6, lw=1.0)
    return [*dots, mean], [*(f"pretraining seed {seed}" for seed in seeds), "mean, 95 % interval"]
