"""ROC and precision-recall curves of the classification tasks, averaged over runs.

Curves are averaged vertically: the area under a mean curve is the mean of the runs' areas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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

CurveArray = NDArray[np.float64]
GRID: CurveArray = np.linspace(0, 1, 101)
"""False positive rates, and recalls, at which curves are averaged."""
MOST_RUNS = 20
"""Runs of a method that are read, those of the lowest seeds."""
DESCRIPTION = (
    "Mean over runs at equal false positive rate, and at equal recall; of several findings, the mean over them. "
    "Dashed: a classifier without information. Axes begin at zero."
)


@dataclass(frozen=True)
class MeanCurves:
    """One method on one task, at `GRID`."""

    roc: CurveArray
    """True positive rates."""
    precision: CurveArray
    runs: int


@dataclass(frozen=True)
class RocPanel:
    """One task."""

    task: str
    curves: dict[str, MeanCurves]
    prevalence: float
    """Fraction of positive cases, the mean over findings."""


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of all classification tasks that have per-case scores, or none."""
    panels = [panel for task in full_tasks(evidence) if (panel := panel_of(evidence, task))]
    if not panels:
        return []
    more = any(len(evidence.runs[method, panel.task]) > MOST_RUNS for panel in panels for method in panel.curves)
    caption = sentences(
        DESCRIPTION,
        f"Of more than {MOST_RUNS} runs, those with the lowest seeds." if more else "",
        fractions_sentence(evidence),
        absent_sentence(evidence, evidence.methods, [panel.task for panel in panels]),
    )
    palette = method_styles(evidence.methods, scratch_labels(evidence))
    return [Plot("roc", "ROC and precision-recall curves", caption, partial(_draw, panels, palette))]


def panel_of(evidence: Evidence, task: str) -> RocPanel | None:
    """Return the curves of a task; None of one that is no classification, or without per-case scores."""
    curves: dict[str, MeanCurves] = {}
    rates: list[float] = []
    for method in evidence.methods:
        runs = sorted(evidence.runs.get((method, task), []), key=lambda run: run.seeds)[:MOST_RUNS]
        read = [found for run in runs if (found := _scores(run))]
        pairs = [pair for run in read if (pair := run_curves(*run)) is not None]
        rates += [float(truth.mean()) for _, truth in read]
        if pairs:
            roc, precision = (np.mean([pair[place] for pair in pairs], axis=0) for place in (0, 1))
            curves[method] = MeanCurves(roc, precision, len(pairs))
    return RocPanel(task, curves, float(np.mean(rates))) if curves else None


def _scores(run: Run) -> tuple[CurveArray, NDArray[np.bool_]] | None:
    """Return the scores and truths of a run, each (cases, findings)."""
    if run.record.get("recipe", {}).get("task", {}).get("kind") != "classification":
        return None
    frame = run.case_scores(("score", "truth"))
    if not {"score", "truth"} <= set(frame.columns) or not len(frame):
        return None
    scores, truths = (np.stack([np.atleast_1d(value) for value in frame[name]]) for name in ("score", "truth"))
    return scores.astype(np.float64), truths > 0


def run_curves(scores: CurveArray, truths: NDArray[np.bool_]) -> tuple[CurveArray, CurveArray] | None:
    """Return true positive rate and precision at `GRID`, means over the findings of which both classes occur."""
    found = [curves_of(s, t) for s, t in zip(scores.T, truths.T, strict=True) if t.any() and not t.all()]
    if not found:
        return None
    return np.mean([roc for roc, _ in found], axis=0), np.mean([precision for _, precision in found], axis=0)


def curves_of(scores: CurveArray, truth: NDArray[np.bool_]) -> tuple[CurveArray, CurveArray]:
    """Return the true positive rate at false positive rates, and the precision at recalls, of `GRID`.

    The ROC curve joins its points by lines; the precision at a recall is that of the highest threshold that reaches it,
    as in average precision.

    Args:
        scores: (cases,), higher for positive ones.
        truth: (cases,), with both classes.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of equal scores, the counts after all of them
    positives = np.cumsum(truth[order])[last]
    negatives = np.cumsum(~truth[order])[last]
    hit, wrong = positives / positives[-1], negatives / negatives[-1]
    rates, first = np.unique(np.append(0.0, wrong)[::-1], return_index=True)
    roc = np.interp(GRID, rates, np.append(0.0, hit)[::-1][first])
    precision = (positives / (positives + negatives))[np.searchsorted(hit, GRID - 1e-12)]
    return roc, precision


def _draw(panels: Sequence[RocPanel], palette: dict[str, MethodStyle], layout: FigureLayout) -> None:
    from matplotlib.lines import Line2D

    headings = [(f"{panel.task}: {what}", _counts(panel)) for panel in panels for what in ("ROC", "precision-recall")]
    charts = layout.charts(headings, min_width=1.6, height=2.05)
    for panel, roc, precision in zip(panels, charts[::2], charts[1::2], strict=True):
        _curves(roc, {method: each.roc for method, each in panel.curves.items()}, palette)
        roc.plot([0, 1], [0, 1], color=GREY, linestyle="--", lw=0.7, zorder=1)
        roc.set(xlabel="false positive rate", ylabel="true positive rate")
        _curves(precision, {method: each.precision for method, each in panel.curves.items()}, palette)
        precision.axhline(panel.prevalence, color=GREY, linestyle="--", lw=0.7, zorder=1)
        precision.set(xlabel="recall", ylabel="precision")
    shown = [method for method in palette if any(method in panel.curves for panel in panels)]
    layout.legend([Line2D([], [], color=palette[m].colour, linestyle=palette[m].line) for m in shown], shown)


def _curves(axes: Axes, curves: dict[str, CurveArray], palette: dict[str, MethodStyle]) -> None:
    ends: Any = (-0.02, 1.02)
    for method, values in curves.items():
        axes.plot(GRID, values, color=palette[method].colour, linestyle=palette[method].line)
    axes.set(xlim=ends, ylim=ends, xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.grid()


def _counts(panel: RocPanel) -> str:
    counts = sorted({curve.runs for curve in panel.curves.values()})
    return f"n = {counts[0]}–{counts[-1]} runs" if len(counts) > 1 else f"n = {counts[0]} run{'s' * (counts[0] > 1)}"
