"""Spread over seeds: one dot per run, grouped by pretraining seed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot, charts_with_named_rows, write_counts
from sg_bench.reporting.figures.style import COLOURS, MARKERS
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
    sentences,
    tables_sentence,
    units_sentence,
)
from sg_bench.statistics.units import SeedPair, Units, units_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

DESCRIPTION = "Each dot is a run. Black: mean over units and its 95 % confidence interval (t on the logit scale)."
LANES = "Each pretraining seed has its own row, marker and colour; the vertical line is the mean of its runs."


@dataclass(frozen=True)
class SeedStrip:
    """One method on one task."""

    metric: str
    scores: dict[SeedPair, float]
    units: Units

    @cached_property
    def average(self) -> Average:
        """Mean and interval over units."""
        return average(self.units.values, self.metric)

    def of(self, pretraining_seed: int) -> list[float]:
        """Return the scores of the runs that start from one pretraining."""
        return [score for (seed, _), score in sorted(self.scores.items()) if seed == pretraining_seed]


@dataclass(frozen=True)
class StripPanel:
    """One task: the strips of all methods that have a score."""

    task: str
    metric: str
    strips: dict[str, SeedStrip] = field(compare=False)

    @property
    def limits(self) -> tuple[ScoreRange, bool]:
        """Return the range of the score's axis, and whether an interval leaves it."""
        scores = [score for strip in self.strips.values() for score in strip.scores.values()]
        return axis_range(scores, [strip.average.interval for strip in self.strips.values()], margin=0.05)


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all tasks that have a result."""
    drawn = [panel for task in fraction_tasks(evidence) if (panel := panel_of(evidence, task)).strips]
    if not drawn:
        return []
    seeds = sorted({seed for panel in drawn for strip in panel.strips.values() for seed, _ in strip.scores})
    methods = [method for method in evidence.methods if any(method in panel.strips for panel in drawn)]
    caption = sentences(
        DESCRIPTION,
        LANES if len(seeds) > 1 else "",
        units_sentence(strip.units for panel in drawn for strip in panel.strips.values()),
        "Intervals may extend beyond the axes." if any(panel.limits[1] for panel in drawn) else "",
        fractions_sentence(evidence),
        tables_sentence(evidence),
        absent_sentence(evidence, evidence.methods, full_tasks(evidence)),
    )
    return [Plot("seed-spread", "Spread over seeds", caption, partial(_draw, drawn, methods, seeds))]


def panel_of(evidence: Evidence, task: str) -> StripPanel:
    """Return the strips of all methods on a task, under its headline metric."""
    metric = evidence.headline(task) or ""
    scores = {method: evidence.scores(method, task, metric) for method in evidence.methods}
    return StripPanel(
        task, metric, {m: SeedStrip(metric, found, units_of(found)) for m, found in scores.items() if found}
    )


def _draw(drawn: Sequence[StripPanel], methods: Sequence[str], seeds: Sequence[int], layout: FigureLayout) -> None:
    headings = [(panel.task, repetitions_text(strip.units for strip in panel.strips.values())) for panel in drawn]
    charts = charts_with_named_rows(layout, headings, methods, row=0.13 + 0.07 * min(len(seeds), 6))
    for axes, panel in zip(charts, drawn, strict=True):
        for place, method in enumerate(methods):
            if place:
                axes.axhline(place - 0.5, color="#D8D8D8", lw=0.5)
            if method in panel.strips:
                _strip(axes, place, panel.strips[method], seeds)
        (low, high), _ = panel.limits
        axes.set_xlim(100 * low, 100 * high)
        axes.locator_params(axis="x", nbins=4 if layout.narrow else 6)
        write_counts(axes, [panel.strips[m].units.n if m in panel.strips else None for m in methods])
        axes.set_xlabel(f"{panel.metric} (%)")
    layout.legend(*_legend(seeds))


def _strip(axes: Axes, place: int, strip: SeedStrip, seeds: Sequence[int]) -> None:
    """Draw the runs of one method, one lane per pretraining seed, and below them its mean and interval."""
    lanes = len(seeds) + 1
    for lane, seed in enumerate(seeds):
        scores = [100 * score for score in strip.of(seed)]
        if not scores:
            continue
        height = place - 0.42 + 0.84 * (lane + 0.5) / lanes
        axes.plot(
            scores, [height] * len(scores), MARKERS[seed_index(seeds, seed) % len(MARKERS)], ms=3.2, mew=0, alpha=0.75,
            color=COLOURS[seed_index(seeds, seed) % len(COLOURS)], zorder=3,
        )  # fmt: skip
        if len(seeds) > 1:
            mean = statistics.fmean(scores)
            axes.plot([mean] * 2, [height - 0.36 / lanes, height + 0.36 / lanes], color="k", lw=0.9, zorder=4)
    found, foot = strip.average, place - 0.42 + 0.84 * (lanes - 0.5) / lanes
    axes.plot(100 * found.mean, foot, "d", color="k", ms=3.6, mew=0, zorder=5)
    if found.interval:
        axes.plot([100 * end for end in found.interval], [foot] * 2, color="k", lw=1.0, zorder=4)


def seed_index(seeds: Sequence[int], seed: int) -> int:
    """Return the index of a pretraining seed in the cycles of markers and colours."""
    return list(seeds).index(seed)


def _legend(seeds: Sequence[int]) -> tuple[list[Artist], list[str]]:
    from matplotlib.lines import Line2D

    dots: list[Artist] = [
        Line2D([], [], linestyle="none", marker=MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], ms=3.6)
        for i in range(len(seeds))
    ]
    mean = Line2D([], [], marker="d", color="k", ms=3.6, lw=1.0)
    return [*dots, mean], [*(f"pretraining seed {seed}" for seed in seeds), "mean, 95 % interval"]
