"""Means, intervals and caption sentences that several figures share."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sg_bench.evaluation.metrics import unit_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.intervals import score_interval
from sg_bench.statistics.two_sample import welch
from sg_bench.statistics.units import Units
from sg_bench.tasks import parse_reference

SCRATCH = "scratch"
AXIS = "fraction"
"""The axis of a task's variants that is its fraction of the labels."""
ScoreRange = tuple[float, float]


@dataclass(frozen=True)
class Average:
    """Mean over units with its standard deviation and interval; fractions in [0, 1]."""

    mean: float
    std: float | None
    """ddof 1; None for one unit."""
    interval: ScoreRange | None
    """95 % confidence interval of the mean; None for one unit."""
    n: int


def average(values: Sequence[float], metric: str) -> Average:
    """Return the average of the values of one or more units under a metric."""
    std = statistics.stdev(values) if len(values) > 1 else None
    found = score_interval(values, metric)
    return Average(statistics.fmean(values), std, (found.low, found.high) if found else None, len(values))


def p_value(first: Units, second: Units) -> float | None:
    """Return the p-value of Welch's test; None for too few units, units of two kinds, or no variance."""
    found = welch(first.values, second.values) if first.kind == second.kind else None
    return found.p if found else None


def p_label(p: float) -> str:
    """Return "p = 0.012", "p < 0.001" or "n.s."."""
    if p >= 0.05:
        return "n.s."
    text = f"{p:.3f}" if f"{p:.3f}" != "0.050" else f"{p:.4f}"
    return f"p = {text}" if p >= 0.001 else "p < 0.001"


def repetitions_text(units: Iterable[Units]) -> str:
    """Return "n = 3 pretraining seeds" for the units of a panel, with the range if their numbers differ."""
    found = [unit for unit in units if unit.n]
    kinds = {unit.kind for unit in found}
    counts = sorted({unit.n for unit in found})
    number = f"{counts[0]}–{counts[-1]}" if len(counts) > 1 else str(counts[0])
    if len(kinds) > 1:
        return f"n = {number} units"
    return f"n = {number} {kinds.pop()} seed{'s' if counts != [1] else ''}"


def units_sentence(units: Iterable[Units]) -> str:
    """Return the sentence that defines a unit and states which conclusions it allows."""
    kinds = {unit.kind for unit in units if unit.n}
    if kinds == {"pretraining"}:
        return "A unit is a pretraining seed: the mean over its fine-tuning runs."
    if kinds == {"fine-tuning"}:
        return "A unit is a fine-tuning run of the only pretraining: the results hold for these checkpoints only."
    return (
        "A unit is a pretraining seed (the mean over its fine-tuning runs), or a fine-tuning run where there is only "
        "one pretraining; those results hold for that checkpoint only."
    )


def absent_sentence(evidence: Evidence, methods: Sequence[str], tasks: Sequence[str]) -> str:
    """Return the sentence that lists the planned cells without a result, "" if there are none."""
    planned = {(cell.method, cell.task) for cell in evidence.cells}
    lacking = {
        method: [task for task in tasks if (method, task) in planned and (method, task) not in evidence.runs]
        for method in methods
    }
    parts = [
        f"{method} ({'all tasks' if len(where) == len(tasks) > 1 else ', '.join(where)})"
        for method, where in lacking.items()
        if where
    ]
    return f"Not drawn (no results): {'; '.join(parts)}." if parts else ""


def base_of(label: str) -> tuple[str, float]:
    """Return a task's label without its fraction, and the fraction: ("ncc[steps=80]", 0.1)."""
    name, choices = parse_reference(label)
    fraction = float(choices.pop(AXIS, 1.0))
    rest = ",".join(f"{axis}={value}" for axis, value in sorted(choices.items()))
    return (f"{name}[{rest}]" if rest else name), fraction


def full_tasks(evidence: Evidence) -> list[str]:
    """Return the tasks with all labels; all tasks if each uses a fraction."""
    return [task for task in evidence.tasks if base_of(task)[1] == 1.0] or evidence.tasks


def fraction_tasks(evidence: Evidence) -> list[str]:
    """Return the tasks of `full_tasks` whose metric is a fraction, which figures with one axis in percent can draw."""
    return [task for task in full_tasks(evidence) if unit_of(evidence.headline(task) or "") == "%"]


def tables_sentence(evidence: Evidence) -> str:
    """Return the sentence on the tasks that `fraction_tasks` leaves to the tables."""
    drawn = fraction_tasks(evidence)
    others = [task for task in full_tasks(evidence) if task not in drawn]
    return f"Not drawn, as their metric is no fraction: {', '.join(others)}." if others else ""


def fractions_sentence(evidence: Evidence) -> str:
    """Return the sentence on the tasks that `full_tasks` omits."""
    return "Runs on a fraction of the labels are not drawn." if len(full_tasks(evidence)) < len(evidence.tasks) else ""


def scratch_labels(evidence: Evidence) -> list[str]:
    """Return the labels of training from scratch."""
    return [method for method in evidence.methods if evidence.method_name(method) == SCRATCH]


def axis_range(
    values: Iterable[float], spans: Iterable[ScoreRange | None], margin: float = 0.12
) -> tuple[ScoreRange, bool]:
    """Return an axis's range in [0, 1] for `values` and `spans`, and whether a span leaves it.

    With two units an interval can be longer than nine standard deviations. It is cut where it extends beyond the
    range of the values by more than that range on either side.
    """
    found = sorted(values)
    low, high = found[0], found[-1]
    reach = max(high - low, 0.01)
    ends = [end for span in spans if span for end in span]
    least, most = max(low - reach, min([low, *ends])), min(high + reach, max([high, *ends]))
    pad = max(margin * (most - least), 0.005)
    axis = max(0.0, least - pad), min(1.0, most + pad)
    return axis, any(end < axis[0] or end > axis[1] for end in ends)


def sentences(*parts: str) -> str:
    """Return the non-empty sentences in one line."""
    return " ".join(part for part in parts if part)
