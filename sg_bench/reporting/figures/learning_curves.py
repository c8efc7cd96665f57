"""Learning curves: the validation loss of each method against the step of fine-tuning."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.figures.layout import FigureLayout, Plot
from sg_bench.reporting.figures.style import GREY, MethodStyle, method_styles
from sg_bench.reporting.figures.summaries import (
    absent_sentence,
    fractions_sentence,
    full_tasks,
    scratch_labels,
    sentences,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DESCRIPTION = "Line: mean validation loss over runs; band: minimum to maximum."
DASHED = (
    "Dashed: lowest mean loss of training from scratch; open markers: first validation at which the mean loss of a "
    "method is as low."
)
STOPPED = "A line ends where its first run stopped."


@dataclass(frozen=True)
class LossCurve:
    """One method on one task: the losses of its runs at the steps at which all of them were validated."""

    losses: dict[int, list[float]]
    """By step, rising."""
    runs: int
    shortened: bool
    """Whether some runs continued after the first had stopped."""

    @cached_property
    def means(self) -> dict[int, float]:
        """Mean loss over runs by step."""
        return {step: statistics.fmean(found) for step, found in self.losses.items()}

    @property
    def best(self) -> float:
        """Return the lowest mean loss."""
        return min(self.means.values())

    def steps_to(self, goal: float) -> int | None:
        """Return the first step at which the mean loss is at `goal` or below, None if there is none."""
        return next((step for step, loss in self.means.items() if loss <= goal), None)


@dataclass(frozen=True)
class LossPanel:
    """One task."""

    task: str
    curves: dict[str, LossCurve] = field(compare=False)

    def goal(self, scratch: Sequence[str]) -> float | None:
        """Return the lowest mean loss of scratch, None if scratch was not run."""
        return next((self.curves[label].best for label in scratch if label in self.curves), None)


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all tasks with all their labels, none if no run has a validation loss."""
    tasks = full_tasks(evidence)
    drawn = [panel for task in tasks if (panel := panel_of(evidence, task)).curves]
    if not drawn:
        return []
    scratch = scratch_labels(evidence)
    shortened = any(curve.shortened for panel in drawn for curve in panel.curves.values())
    caption = sentences(
        DESCRIPTION,
        DASHED if any(panel.goal(scratch) is not None for panel in drawn) else "",
        STOPPED if shortened else "",
        steps_sentence(drawn, scratch),
        fractions_sentence(evidence),
        absent_sentence(evidence, evidence.methods, tasks),
    )
    palette = method_styles(evidence.methods, scratch)
    return [Plot("learning-curves", "Learning curves", caption, partial(_draw, drawn, palette, scratch))]


def panel_of(evidence: Evidence, task: str) -> LossPanel:
    """Return the curves of all methods on a task."""
    found = {method: curve_of(evidence.runs.get((method, task), [])) for method in evidence.methods}
    return LossPanel(task, {method: curve for method, curve in found.items() if curve})


def curve_of(runs: Sequence[Run]) -> LossCurve | None:
    """Return the curve of some runs, None if no step was validated in all of them.

    Steps after the first run stopped are left out, since their mean would be over other runs than before.
    """
    each = [_validated(run) for run in runs]
    if not each:
        return None
    shared = set(each[0]).intersection(*each[1:])
    losses = {step: [found[step] for found in each] for step in sorted(shared)}
    longest = max((step for found in each for step in found), default=0)
    return LossCurve(losses, len(each), longest > max(losses)) if losses else None


def steps_sentence(drawn: Sequence[LossPanel], scratch: Sequence[str]) -> str:
    """Return the sentence on the steps after which each method reaches the lowest mean loss of scratch."""
    parts = []
    for panel in drawn:
        goal = panel.goal(scratch)
        if goal is not None:
            steps = {method: curve.steps_to(goal) for method, curve in panel.curves.items()}
            parts.append(f"{panel.task}: " + ", ".join(f"{m} {n or 'never'}" for m, n in steps.items()))
    return f"Steps to scratch's lowest mean loss – {'; '.join(parts)}." if parts else ""


def _validated(run: Run) -> dict[int, float]:
    """Return the validation loss by step."""
    entries = run.curves(("step", "validation.loss"))
    found = {entry["step"]: (entry.get("validation") or {}).get("loss") for entry in entries}
    return {int(step): float(loss) for step, loss in found.items() if loss is not None}


def _draw(
    drawn: Sequence[LossPanel], palette: dict[str, MethodStyle], scratch: Sequence[str], layout: FigureLayout
) -> None:
    from matplotlib.lines import Line2D

    headings = [(panel.task, _counts(panel)) for panel in drawn]
    for axes, panel in zip(layout.charts(headings, min_width=1.6, height=1.75), drawn, strict=True):
        _panel(axes, panel, palette, scratch)
    shown = [method for method in palette if any(method in panel.curves for panel in drawn)]
    chosen = [palette[method] for method in shown]
    handles = [
        Line2D([], [], color=style.colour, marker=style.marker, linestyle=style.line, ms=3.2) for style in chosen
    ]
    layout.legend(handles, shown)


def _panel(axes: Axes, panel: LossPanel, palette: dict[str, MethodStyle], scratch: Sequence[str]) -> None:
    goal = panel.goal(scratch)
    if goal is not None:
        axes.axhline(goal, color=GREY, linestyle="--", lw=0.7, zorder=1)
    for place, (method, curve) in enumerate(panel.curves.items()):
        _curve(axes, curve, palette[method], place)
        step = curve.steps_to(goal) if goal is not None else None
        if step is not None:
            style = palette[method]
            axes.plot(step, curve.means[step], style.marker, color=style.colour, mfc="w", ms=5.5, mew=1.2, zorder=6)
    axes.grid()
    axes.set_xlim(left=0)
    axes.set_xlabel("fine-tuning step")
    axes.set_ylabel("validation loss")


def _curve(axes: Axes, curve: LossCurve, style: MethodStyle, place: int) -> None:
    steps = list(curve.means)
    # Markers at different steps on each line keep overlapping lines distinguishable.
    every = max(1, len(steps) // 4)
    axes.plot(steps, list(curve.means.values()), color=style.colour, linestyle=style.line, marker=style.marker, ms=3.2,
              markevery=(place % every, every))  # fmt: skip
    if curve.runs > 1:
        low, high = ([pick(found) for found in curve.losses.values()] for pick in (min, max))
        axes.fill_between(steps, low, high, color=style.colour, alpha=0.13, lw=0)


def _counts(panel: LossPanel) -> str:
    counts = sorted({curve.runs for curve in panel.curves.values()})
    return f"n = {counts[0]}–{counts[-1]} runs" if len(counts) > 1 else f"n = {counts[0]} run{'s' * (counts[0] > 1)}"
