"""What the figures say in words and numbers: means, intervals, repetitions, and what is not there."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sg_bench.reporting.evidence import Evidence
from sg_bench.statistics.intervals import t_interval
from sg_bench.statistics.two_sample import welch
from sg_bench.statistics.units import Units
from sg_bench.tasks import parse_reference

SCRATCH = "scratch"
AXIS = "fraction"
"""What a task's variant calls its share of the labels."""
Span = tuple[float, float]


@dataclass(frozen=True)
class Average:
    """Mean over units, with what is known of its precision; fractions in [0, 1]."""

    mean: float
    std: float | None
    """ddof 1; None for one unit."""
    interval: Span | None
    """95 % t-interval of the mean; None for one unit."""
    n: int


def average(values: Sequence[float]) -> Average:
    """Return the average of one or more unit values."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Average(statistics.fmean(values), std, interval(values), len(values))


def interval(values: Sequence[float]) -> Span | None:
    """Return the 95 % t-interval of the mean, or None where there is none."""
    found = t_interval(values)
    return (found.low, found.high) if found else None


def p_value(first: Units, second: Units) -> float | None:
    """Return Welch's p, or None for too few units, for units of two kinds, and where nothing varies."""
    found = welch(first.values, second.values) if first.kind == second.kind else None
    return found.p if found else None


def said_p(p: float) -> str:
    """Return "p = 0.012", "p < 0.001" or "n.s."."""
    if p >= 0.05:
        return "n.s."
    text = f"{p:.3f}" if f"{p:.3f}" != "0.050" else f"{p:.4f}"
    return f"p = {text}" if p >= 0.001 else "p < 0.001"


def repetitions(units: Iterable[Units]) -> str:
    """Return "n = 3 pretraining seeds" for the units of a panel, with the range where their numbers differ."""
    found = [unit for unit in units if unit.n]
    kinds = {unit.kind for unit in found}
    counts = sorted({unit.n for unit in found})
    number = f"{counts[0]}–{counts[-1]}" if len(counts) > 1 else str(counts[0])
    if len(kinds) > 1:
        return f"n = {number} units"
    return f"n = {number} {kinds.pop()} seed{'s' if counts != [1] else ''}"


def about_units(units: Iterable[Units]) -> str:
    """Return the sentence on what counts as one repetition, and how far that carries."""
    kinds = {unit.kind for unit in units if unit.n}
    if kinds == {"pretraining"}:
        return "A unit is a pretraining seed: the mean over its fine-tuning runs."
    if kinds == {"fine-tuning"}:
        return "A unit is a fine-tuning run of the one pretraining: what is shown is about these checkpoints only."
    return (
        "A unit is a pretraining seed (the mean over its fine-tuning runs), or, where there is one pretraining, "
        "a fine-tuning run: that is about its checkpoint only."
    )


def absent(evidence: Evidence, methods: Sequence[str], tasks: Sequence[str]) -> str:
    """Return the sentence that names what was planned and has no result, "" if nothing is absent."""
    planned = {(cell.method, cell.task) for cell in evidence.cells}
    lacking = {
        method: [task for task in tasks if (method, task) in planned and (method, task) not in evidence.runs]
        for method in methods
    }
    told = [
        f"{method} ({'all tasks' if len(where) == len(tasks) > 1 else ', '.join(where)})"
        for method, where in lacking.items()
        if where
    ]
    return f"Not drawn, for want of results: {'; '.join(told)}." if told else ""


def base_of(label: str) -> tuple[str, float]:
    """Return a task's label without its fraction, and the fraction: ("ncc[steps=80]", 0.1)."""
    name, choices = parse_reference(label)
    fraction = float(choices.pop(AXIS, 1.0))
    rest = ",".join(f"{axis}={value}" for axis, value in sorted(choices.items()))
    return (f"{name}[{rest}]" if rest else name), fraction


def full_tasks(evidence: Evidence) -> list[str]:
    """Return the tasks with all their labels; all tasks where each is a fraction."""
    return [task for task in evidence.tasks if base_of(task)[1] == 1.0] or evidence.tasks


def about_fractions(evidence: Evidence) -> str:
    """Return the sentence on tasks that `full_tasks` leaves out."""
    return "Runs on a fraction of the labels are not drawn." if len(full_tasks(evidence)) < len(evidence.tasks) else ""


def scratches(evidence: Evidence) -> list[str]:
    """Return the labels of training from scratch."""
    return [method for method in evidence.methods if evidence.method_name(method) == SCRATCH]


def view(values: Iterable[float], spans: Iterable[Span | None], room: float = 0.12) -> tuple[Span, bool]:
    """Return an axis's range in [0, 1] for `values` and `spans`, and whether a span leaves it.

    With two units an interval is some nine standard deviations long: beyond once the values' own range on either
    side, it is cut.
    """
    found = sorted(values)
    low, high = found[0], found[-1]
    reach = max(high - low, 0.01)
    ends = [end for span in spans if span for end in span]
    least, most = max(low - reach, min([low, *ends])), min(high + reach, max([high, *ends]))
    margin = room * (most - least)
    axis = max(0.0, least - max(margin, 0.005)), min(1.0, most + max(margin, 0.005))
    return axis, any(end < axis[0] or end > axis[1] for end in ends)


def sentences(*parts: str) -> str:
    """Return the sentences that say something, in one line."""
    return " ".join(part for part in parts if part)
