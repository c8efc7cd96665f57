"""`sg-bench power`: the difference that a number of seeds can detect, and how many seeds a claim needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from sg_bench.cli import options
from sg_bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from sg_bench.reporting.evidence import Evidence
    from sg_bench.statistics.units import Units


@dataclass(frozen=True)
class PowerQuestion:
    """The effect to detect, and with which certainty."""

    comparisons: int
    alpha: float
    power: float
    difference: float | None
    """Difference of scores as a fraction; None takes the measured one."""


class PowerAnswer(NamedTuple):
    """What is known of one method against another on one task, and what a test needs."""

    text: str
    n: int = 0
    """Units of the side that has fewer."""
    difference: float | None = None
    spread: float | None = None
    """The measured difference and standard deviation, as fractions."""
    power: float | None = None
    needed: int | None = None
    """Units a side."""


def power(
    suite: Annotated[str, typer.Option("--suite", help="A built-in suite's name, or a .yaml file.")] = "",
    work: options.Work = None,
    task: Annotated[str, typer.Option("--task", help="Only this task.")] = "",
    against: Annotated[
        str, typer.Option("--against", help="The method that the others are compared with.")
    ] = "scratch",
    seeds: options.FineTuningSeeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    settings: options.Set = [],  # noqa: B006 - likewise
    n: Annotated[int | None, typer.Option("--n", min=2, help="Instead of a suite: seeds a side.")] = None,
    comparisons: Annotated[
        int | None, typer.Option(min=1, help="Tests that share alpha; else one for each method compared.")
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option(min=0.0001, max=1.0, help="A score difference to detect, as 0.01; else the measured."),
    ] = None,
    alpha: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Error level of all comparisons together.")] = 0.05,
    probability: Annotated[
        float, typer.Option("--power", min=0.5, max=0.999, help="Probability of detecting it.")
    ] = 0.8,
    as_json: options.Json = False,
) -> None:
    """Print the difference that a number of seeds can detect, or how many more seeds each method of a suite needs.

    Examples: sg-bench power --n 10 --comparisons 9; sg-bench power --suite mine.yaml --difference 0.01
    """
    if (n is None) == (not suite):
        raise UsageError("power needs either --n or --suite", hint="Write --n 10 --comparisons 9, or --suite demo")
    if n is not None:
        least, text = _of_number(n, comparisons or 1, alpha, probability)
        given = {"n": n, "comparisons": comparisons or 1, "alpha": alpha, "power": probability}
        typer.echo(options.json_text({**given, "detectable_d": least}) if as_json else text)
        return
    from sg_bench.cli.printing import records
    from sg_bench.cli.selection import select
    from sg_bench.reporting.evidence import Evidence

    selection = select(
        suite,
        work=work,
        tasks=task,
        seeds=seeds,
        pretraining_seeds=pretraining_seeds,
        data=data,
        settings=settings,
    )
    evidence = Evidence(selection.plan.cells, records(selection))
    if against not in evidence.methods:
        raise UsageError(f"--against {against}: no such method", hint=did_you_mean(against, evidence.methods))
    asked = PowerQuestion(comparisons or max(1, len(evidence.methods) - 1), alpha, probability, difference)
    answers = {
        (task, method): _of_pair(evidence, task, method, against, asked)
        for task in evidence.tasks
        for method in evidence.methods
        if method != against
    }
    if as_json:
        rows = [{"task": task, "method": method, **each._asdict()} for (task, method), each in answers.items()]
        typer.echo(options.json_text({**asdict(asked), "against": against, "methods": rows}))
        return
    for line in _of_evidence(evidence, against, asked, answers):
        typer.echo(line)


def _of_number(n: int, comparisons: int, alpha: float, probability: float) -> tuple[float, str]:
    """Return the detectable effect as Cohen's d, and the sentence that says it."""
    from sg_bench.statistics.power import detectable
    from sg_bench.statistics.two_sample import MIN_UNITS

    least = detectable(n, n, comparisons, alpha, probability)
    shared = f" shared by {comparisons} comparisons" if comparisons > 1 else ""
    few = f". The report makes no test below n = {MIN_UNITS}" if n < MIN_UNITS else ""
    return least, (
        f"{n} seeds a side, two-sided t-test, alpha {alpha:g}{shared}: a difference of {least:.2f} standard deviations "
        f"(Cohen's d) is found with probability {probability:g}{few}"
    )


def _of_evidence(
    evidence: Evidence, against: str, asked: PowerQuestion, answers: dict[tuple[str, str], PowerAnswer]
) -> Iterator[str]:
    yield (
        f"Two-sided Welch's t-test against {against}, alpha {asked.alpha:g} shared by {asked.comparisons} comparisons; "
        f"needed: seeds a side that find the difference with probability {asked.power:g}"
    )
    yield from (f"{method:<24} {task:<24} {answer.text}" for (task, method), answer in answers.items())
    single = _single(evidence)
    if single:
        yield (
            f"There is one pretraining ({', '.join(single)}), so fine-tuning seeds are counted and all is about this "
            "checkpoint only: for a claim about a method, add pretraining seeds"
        )
    yield "A spread measured on few seeds is itself uncertain: take the numbers as a plan, and count again."


def _single(evidence: Evidence) -> list[str]:
    """Return the methods that have a single pretraining on some task, or all methods if only one is planned."""
    planned = {cell.pretraining_seed for cell in evidence.cells}
    if len(planned) == 1:
        return evidence.methods
    found = {
        method
        for method, task in evidence.runs
        if evidence.units(method, task, evidence.headline(task) or "").kind == "fine-tuning"
    }
    return [method for method in evidence.methods if method in found]


def _of_pair(evidence: Evidence, task: str, method: str, against: str, asked: PowerQuestion) -> PowerAnswer:
    metric = evidence.headline(task)
    if metric is None:
        return PowerAnswer("nothing is done yet")
    return _advice(evidence.units(method, task, metric), evidence.units(against, task, metric), asked)


def _advice(ours: Units, theirs: Units, asked: PowerQuestion) -> PowerAnswer:
    """Return the difference, the spread, the power now, and how many more seeds are needed."""
    import numpy as np

    from sg_bench.statistics.power import power_of, units_needed
    from sg_bench.statistics.samples import variance
    from sg_bench.statistics.two_sample import MIN_UNITS

    n = min(ours.n, theirs.n)
    if n < 2:
        return PowerAnswer(f"n = {ours.n} and {theirs.n}: two seeds a side are needed to measure a spread", n)
    variances = sorted((variance(np.array(side.values)) for side in (ours, theirs)), reverse=True)
    spread = math.sqrt(fmean(variances))
    measured = fmean(ours.values) - fmean(theirs.values)
    sought = measured if asked.difference is None else asked.difference
    if not spread or not sought:
        lacking = "spread" if not spread else "difference"
        text = f"n = {ours.n} and {theirs.n}: no {lacking}, nothing to count with"
        return PowerAnswer(text, n, measured, spread)
    ratio = variances[1] / variances[0]
    effect, family, alpha = sought / spread, asked.comparisons, asked.alpha
    now = power_of(effect, n, n, comparisons=family, alpha=alpha, ratio=ratio)
    needed = units_needed(effect, family, alpha, asked.power, ratio=ratio, least=MIN_UNITS)
    wanted = "" if asked.difference is None else f" (sought {100 * sought:.2f})"
    text = (
        f"difference {100 * measured:+.2f}{wanted}, spread {100 * spread:.2f}, d = {effect:.2f}, "
        f"n = {ours.n} and {theirs.n}, power {now:.2f}, needed {_seeds(needed, n, ours.kind)}"
    )
    return PowerAnswer(text, n, measured, spread, now, needed)


def _seeds(needed: int | None, n: int, kind: str) -> str:
    if needed is None:
        return "more than can be run"
    seeds = f"{kind} seeds"
    return f"{needed}: {f'{needed - n} more {seeds}' if needed > n else f'{n} {seeds} are enough'}"
