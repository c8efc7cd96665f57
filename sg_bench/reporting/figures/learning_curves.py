"""How fast a method learns a task: its validation loss against the steps of fine-tuning."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.figures.sheet import Plot, Sheet
from sg_bench.reporting.figures.style import GREY, Look, looks
from sg_bench.reporting.figures.summaries import about_fractions, absent, full_tasks, scratches, sentences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW = "Line: mean validation loss over runs; band: from the least to the greatest run."
DASHED = (
    "Dashed: the lowest mean loss of "
    "training from scratch; open markers: the first validation at which a method's mean is as low."
)
STOPPED = "A line ends where the first of its runs stopped."


@dataclass(frozen=True)
class Curve:
    """One method on one task: the losses of all its runs at each step at which every run was validated."""

    losses: dict[int, list[float]]
    """By step, rising."""
    runs: int
    shortened: bool
    """Whether some runs went on after the first had stopped."""

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
class Panel:
    """One task."""

    task: str
    curves: dict[str, Curve] = field(compare=False)

    def goal(self, plain: Sequence[str]) -> float | None:
        """Return scratch's lowest mean loss, None where scratch was not run."""
        return next((self.curves[label].best for label in plain if label in self.curves), None)


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all tasks with all their labels, none if no run has a validation loss."""
    tasks = full_tasks(evidence)
    drawn = [panel for task in tasks if (panel := panel_of(evidence, task)).curves]
    if not drawn:
        return []
    plain = scratches(evidence)
    shortened = any(curve.shortened for panel in drawn for curve in panel.curves.values())
    caption = sentences(
        HOW,
        DASHED if any(panel.goal(plain) is not None for panel in drawn) else "",
        STOPPED if shortened else "",
        reach(drawn, plain),
        about_fractions(evidence),
        absent(evidence, evidence.methods, tasks),
    )
    palette = looks(evidence.methods, plain)
    return [Plot("learning-curves", "Learning curves", caption, partial(_draw, drawn, palette, plain))]


def panel_of(evidence: Evidence, task: str) -> Panel:
    """Return the curves of all methods on a task."""
    found = {method: curve_of(evidence.runs.get((method, task), [])) for method in evidence.methods}
    return Panel(task, {method: curve for method, curve in found.items() if curve})


def curve_of(runs: Sequence[Run]) -> Curve | None:
    """Return the curve of some runs, None if no step was validated in all of them.

    Where some had stopped, a mean over the others would be a mean over other runs than before.
    """
    each = [_validated(run) for run in runs]
    if not each:
        return None
    shared = set(each[0]).intersection(*each[1:])
    losses = {step: [found[step] for found in each] for step in sorted(shared)}
    longest = max((step for found in each for step in found), default=0)
    return Curve(losses, len(each), longest > max(losses)) if losses else None


def reach(drawn: Sequence[Panel], plain: Sequence[str]) -> str:
    """Return the sentence on the steps that each method takes to scratch's lowest mean loss."""
    told = []
    for panel in drawn:
        goal = panel.goal(plain)
        if goal is not None:
            steps = {method: curve.steps_to(goal) for method, curve in panel.curves.items()}
            told.append(f"{panel.task}: " + ", ".join(f"{m} {n or 'never'}" for m, n in steps.items()))
    return f"Steps to scratch's lowest mean loss – {'; '.join(told)}." if told else ""


def _validated(run: Run) -> dict[int, float]:
    """Return the validation loss by step."""
    entries = run.record.get("curves") or []
    found = {entry["step"]: (entry.get("validation") or {}).get("loss") for entry in entries}
    return {int(step): float(loss) for step, loss in found.items() if loss is not None}


def _draw(drawn: Sequence[Panel], palette: dict[str, Look], plain: Sequence[str], sheet: Sheet) -> None:
    from matplotlib.lines import Line2D

    headings = [(panel.task, _counts(panel)) for panel in drawn]
    for axes, panel in zip(sheet.charts(headings, least=1.6, height=1.75), drawn, strict=True):
        _panel(axes, panel, palette, plain)
    shown = [method for method in palette if any(method in panel.curves for panel in drawn)]
    chosen = [palette[method] for method in shown]
    handles = [Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, ms=3.2) for look in chosen]
    sheet.legend(handles, shown)


def _panel(axes: Axes, panel: Panel, palette: dict[str, Look], plain: Sequence[str]) -> None:
    goal = panel.goal(plain)
    if goal is not None:
        axes.axhline(goal, color=GREY, linestyle="--", lw=0.7, zorder=1)
    for place, (method, curve) in enumerate(panel.curves.items()):
        _curve(axes, curve, palette[method], place)
        step = curve.steps_to(goal) if goal is not None else None
        if step is not None:
            look = palette[method]
            axes.plot(step, curve.means[step], look.marker, color=look.colour, mfc="w", ms=5.5, mew=1.2, zorder=6)
    axes.grid()
    axes.set_xlim(left=0)
    axes.set_xlabel("fine-tuning step")
    axes.set_ylabel("validation loss")


def _curve(axes: Axes, curve: Curve, look: Look, place: int) -> None:
    steps = list(curve.means)
    # Markers at other places on each line: they tell the lines apart where they run together.
    every = max(1, len(steps) // 4)
    axes.plot(steps, list(curve.means.values()), color=look.colour, linestyle=look.line, marker=look.marker, ms=3.2,
              markevery=(place % every, every))  # fmt: skip
    if curve.runs > 1:
        low, high = ([pick(found) for found in curve.losses.values()] for pick in (min, max))
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.13, lw=0)


def _counts(panel: Panel) -> str:
    counts = sorted({curve.runs for curve in panel.curves.values()})
    return f"n = {counts[0]}–{counts[-1]} runs" if len(counts) > 1 else f"n = {counts[0]} run{'s' * (counts[0] > 1)}"
