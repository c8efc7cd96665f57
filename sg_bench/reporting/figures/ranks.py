"""Ranks of the methods over all tasks, with the critical difference of Nemenyi's test.

Source: Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial

from sg_bench.evaluation.metrics import higher_is_better
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot, charts_with_named_rows
from sg_bench.reporting.figures.style import BLUE, PALE
from sg_bench.reporting.figures.summaries import full_tasks, sentences
from sg_bench.statistics.two_sample import MIN_UNITS

LEAST_METHODS, LEAST_TASKS = 3, 2
DESCRIPTION = "Mean rank over tasks of the mean scores (1 is best); pale dots: each task."


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of ranks; none with too few methods, tasks or units for ranks to mean anything."""
    tasks = [task for task in full_tasks(evidence) if evidence.headline(task)]
    scored = {method: [_score(evidence, method, task) for task in tasks] for method in evidence.methods}
    complete = {m: [s for s in found if s is not None] for m, found in scored.items() if None not in found}
    if len(complete) < LEAST_METHODS or len(tasks) < LEAST_TASKS:
        return []
    columns = [ranks_of(column) for column in zip(*complete.values(), strict=True)]
    ranks = {method: [column[place] for column in columns] for place, method in enumerate(complete)}
    ordered = dict(sorted(ranks.items(), key=lambda each: sum(each[1])))
    difference = critical_difference(len(ordered), len(tasks))
    omitted = [method for method in evidence.methods if method not in ordered]
    caption = sentences(
        DESCRIPTION,
        _about_power(difference, len(ordered), len(tasks)),
        f"Not ranked (fewer than {MIN_UNITS} units on some task): {', '.join(omitted)}." if omitted else "",
    )
    return [Plot("ranks", "Ranks over all tasks", caption, partial(_draw, ordered, difference))]


def ranks_of(scores: Sequence[float]) -> list[float]:
    """Return the rank of each score, 1 for the highest; equal scores share the mean of their ranks."""
    return [sum(other > score for other in scores) + (scores.count(score) + 1) / 2 for score in list(scores)]


@cache
def critical_difference(methods: int, tasks: int, alpha: float = 0.05) -> float:
    """Return the difference of mean ranks from which Nemenyi's test separates two methods."""
    from scipy.stats import studentized_range

    q = float(studentized_range.isf(alpha, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * tasks))


def _score(evidence: Evidence, method: str, task: str) -> float | None:
    """Return the mean over units, higher where it is better; None with fewer units than a test needs."""
    metric = evidence.headline(task) or ""
    units = evidence.units(method, task, metric)
    if units.n < MIN_UNITS:
        return None
    return math.fsum(units.values) / units.n * (1 if higher_is_better(metric) else -1)


def _about_power(difference: float, methods: int, tasks: int) -> str:
    power = (
        f"Power: mean ranks of {methods} methods on {tasks} tasks differ significantly from {difference:.2f} on "
        f"(Nemenyi's test, 5 %), of at most {methods - 1}"
    )
    if difference > methods - 1:
        return f"{power}: with so few tasks no difference of ranks can be significant."
    return f"{power}. Shaded: not separable from the best by ranks."


def _draw(ranks: dict[str, list[float]], difference: float, layout: FigureLayout) -> None:
    tasks = len(next(iter(ranks.values())))
    (axes,) = charts_with_named_rows(layout, [("mean rank", f"n = {tasks} tasks")], list(ranks), row=0.19)
    means = [sum(found) / len(found) for found in ranks.values()]
    if difference <= len(ranks) - 1:
        axes.axvspan(means[0], means[0] + difference, color=PALE, alpha=0.35, lw=0, zorder=0)
    for place, (found, mean) in enumerate(zip(ranks.values(), means, strict=True)):
        axes.plot(found, [place] * len(found), "o", color=PALE, ms=2.6, mew=0, zorder=2)
        axes.plot(mean, place, "o", color=BLUE, ms=4.4, mew=0, zorder=3)
    axes.set_xlim(0.7, len(ranks) + 0.3)
    axes.locator_params(axis="x", integer=True, nbins=min(len(ranks), 10))
    axes.set_xlabel("rank (1 is best)")
