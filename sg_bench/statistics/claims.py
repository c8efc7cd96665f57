"""What becomes of a claim that was fixed beforehand: supported, not supported, or not to be decided on these values.

"Not supported" says that no difference was found, never that there is none; where a least difference worth a claim was
stated and these units would hardly have found it, the claim cannot be decided. A claim that cannot be tested keeps its
place in its family, so leaving runs out makes no other claim easier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

import numpy as np

from sg_bench.statistics import two_sample
from sg_bench.statistics.effects import hedges_g
from sg_bench.statistics.families import holm
from sg_bench.statistics.power import POWER, Alternative, detectable, power_of, units_needed
from sg_bench.statistics.samples import variance
from sg_bench.statistics.two_sample import LEAST_N, Test
from sg_bench.statistics.units import Units

TestName = Literal["welch", "students_t", "mann_whitney", "paired_t", "sign_flip"]
Ruling = Literal["supported", "not supported", "cannot be decided"]
PAIRED = ("paired_t", "sign_flip")


@dataclass(frozen=True)
class Argument:
    """What a claim asks, and the units that answer it. Scores are fractions in [0, 1], higher is better."""

    name: str
    better: Units
    than: Units | float
    test: TestName = "welch"
    """Against a number, both t-tests of two samples become the one-sample t-test."""
    alternative: Alternative = "two-sided"
    alpha: float = 0.05
    """Level of the family."""
    family: str = "claims"
    least_difference: float | None = None
    """The smallest difference of scores worth a claim."""
    lacking: tuple[str, ...] = ()
    """Why units that were fixed beforehand are not there; with any, nothing is tested."""

    @cached_property
    def sides(self) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Values of both sides; None instead of the second: the first are differences, set against nought."""
        if isinstance(self.than, float):
            return tuple(value - self.than for value in self.better.values), None
        if self.test not in PAIRED:
            return self.better.values, self.than.values
        theirs = dict(zip(self.than.seeds, self.than.values, strict=True))
        ours = zip(self.better.seeds, self.better.values, strict=True)
        return tuple(value - theirs[seed] for seed, value in ours if seed in theirs), None

    @property
    def n(self) -> tuple[int, int | None]:
        """Number of units of both sides, or of differences and None."""
        a, b = self.sides
        return len(a), None if b is None else len(b)

    @property
    def checkpoint_only(self) -> bool:
        """Whether a side has one pretraining, so that nothing is said about its method in general."""
        sides = [self.better] if isinstance(self.than, float) else [self.better, self.than]
        return any(side.kind == "fine-tuning" for side in sides)


@dataclass(frozen=True)
class Verdict:
    """What became of one claim, and why."""

    name: str
    ruling: Ruling
    reason: str
    checkpoint_only: bool
    """One pretraining: the ruling is about this checkpoint only."""
    test: str
    n: tuple[int, int | None]
    """Units of both sides, or of differences and None."""
    comparisons: int
    """Claims in the family."""
    p: float | None = None
    adjusted: float | None = None
    """p after Holm's correction inside the family."""
    difference: float | None = None
    """Of the means, or the mean difference, as a fraction."""
    effect: float | None = None
    """Hedges' g; of differences, their mean over their standard deviation, corrected alike."""
    power: float | None = None
    """Probability of finding the stated least difference, else the observed one, at this n and in this family; of a
    rank or sign-flip test, as the t-test's."""


def judge(arguments: Sequence[Argument]) -> list[Verdict]:
    """Return the verdict of each argument, with Holm's correction inside each family."""
    tests = {argument.name: _tested(argument) for argument in arguments}
    ps = {name: 1.0 if test is None or not math.isfinite(test.p) else test.p for name, test in tests.items()}
    verdicts = []
    for argument in arguments:
        family = {other.name: ps[other.name] for other in arguments if other.family == argument.family}
        floor = holm({**family, argument.name: _least_p(argument)})[argument.name]
        verdicts.append(_verdict(argument, tests[argument.name], holm(family)[argument.name], floor, len(family)))
    return verdicts


def _tested(argument: Argument) -> Test | None:
    """Return the test of an argument whose units are all there and enough, else None."""
    a, b = argument.sides
    if argument.lacking or _smallest(argument) < LEAST_N:
        return None
    if b is None:
        paired = two_sample.sign_flip if argument.test == "sign_flip" else two_sample.paired_t
        return paired(a, (0.0,) * len(a), alternative=argument.alternative)
    unpaired = {
        "welch": two_sample.welch,
        "students_t": two_sample.students_t,
        "mann_whitney": two_sample.mann_whitney,
    }
    return unpaired[argument.test](a, b, alternative=argument.alternative)


def _verdict(argument: Argument, test: Test | None, adjusted: float, floor: float, comparisons: int) -> Verdict:
    """Return one verdict.

    Args:
        argument: what is claimed.
        test: None if there are too few units, or if it is undefined.
        adjusted: its p within the family.
        floor: the smallest adjusted p that these many units could have reached.
        comparisons: claims in the family.
    """
    tested = test is not None and math.isfinite(test.p)
    power = None if argument.lacking else _power(argument, comparisons)
    ruling, reason = _undecided(argument, floor, tested=tested) or _decided(argument, adjusted, power, comparisons)
    return Verdict(
        argument.name,
        ruling,
        reason,
        argument.checkpoint_only,
        _title(argument, test),
        argument.n,
        comparisons,
        p=test.p if test and tested else None,
        adjusted=adjusted if tested else None,
        difference=_difference(argument),
        effect=None if argument.lacking else _effect(argument),
        power=power,
    )


def _undecided(argument: Argument, floor: float, *, tested: bool) -> tuple[Ruling, str] | None:
    """Return why the claim cannot be decided whatever the values are, or None."""
    if argument.lacking:
        return "cannot be decided", "; ".join(argument.lacking)
    if _smallest(argument) < LEAST_N:
        return "cannot be decided", f"n = {_smallest(argument)}, and no test is made below n = {LEAST_N}"
    if not tested:
        return "cannot be decided", "the test is undefined: the values do not vary"
    if floor > argument.alpha:
        told = f"no outcome of {argument.n[0]} units could reach {argument.alpha:g} in this family"
        return "cannot be decided", f"{told}: the least adjusted p is {floor:.3g}"
    return None


def _decided(argument: Argument, adjusted: float, power: float | None, comparisons: int) -> tuple[Ruling, str]:
    found = f"adjusted p {adjusted:.2g}"
    if adjusted <= argument.alpha and _favours(argument):
        return "supported", f"{found} is at most {argument.alpha:g}"
    if adjusted <= argument.alpha:
        return "not supported", f"the difference goes the other way ({found})"
    found = f"{found} is above {argument.alpha:g}"
    if argument.least_difference is None or power is None:
        return "not supported", f"{found}; {_detectable(argument, comparisons)}"
    least = f"a difference of {100 * argument.least_difference:.2f} points"
    if power >= POWER:
        return "not supported", f"{found}, though {least} would have been found with probability {power:.2f}"
    return "cannot be decided", f"{found}, but at this n {least} would be found with probability {power:.2f} only" + (
        _more(argument, comparisons)
    )


def _detectable(argument: Argument, comparisons: int) -> str:
    least = detectable(
        *argument.n, comparisons, argument.alpha, alternative=argument.alternative, ratio=_spread(argument)[1]
    )
    return f"at this n an effect of {least:.2f} standard deviations is found with probability {POWER:g}"


def _more(argument: Argument, comparisons: int) -> str:
    """Return how many units would find the least difference."""
    spread, ratio = _spread(argument)
    needed = units_needed(
        (argument.least_difference or 0.0) / spread,
        comparisons,
        argument.alpha,
        sides=1 if argument.n[1] is None else 2,
        alternative=argument.alternative,
        ratio=ratio,
        least=LEAST_N,
    )
    return f"; {needed} {argument.better.kind} seeds would do" if needed else ""


def _power(argument: Argument, comparisons: int) -> float | None:
    """Return the power for the stated least difference, else the observed one; None without a spread."""
    spread, ratio = _spread(argument)
    difference = _difference(argument) if argument.least_difference is None else argument.least_difference
    if not spread or difference is None:
        return None
    n_a, n_b = argument.n
    if ratio is not None and n_b is not None and _variances(argument)[0] < _variances(argument)[1]:
        n_a, n_b = n_b, n_a
    effect, alternative = difference / spread, argument.alternative
    return power_of(
        effect, n_a, n_b, comparisons=comparisons, alpha=argument.alpha, alternative=alternative, ratio=ratio
    )


def _spread(argument: Argument) -> tuple[float, float | None]:
    """Return the standard deviation that effects are counted in, 0 if unknown, and Welch's ratio of variances."""
    variances = _variances(argument)
    spread = math.sqrt(fmean(variances)) if variances else 0.0
    welch = argument.test == "welch" and argument.n[1] is not None and spread > 0
    return spread, min(variances) / max(variances) if welch else None


def _variances(argument: Argument) -> list[float]:
    sides = [side for side in argument.sides if side is not None]
    return [variance(np.asarray(side)) for side in sides] if all(len(side) > 1 for side in sides) else []


def _difference(argument: Argument) -> float | None:
    a, b = argument.sides
    if not a or (b is not None and not b):
        return None
    return fmean(a) - (fmean(b) if b else 0.0)


def _effect(argument: Argument) -> float | None:
    a, b = argument.sides
    if len(a) < 3 or not _spread(argument)[0]:
        return None
    if b is not None:
        return hedges_g(a, b)
    return _small_sample(len(a) - 1) * fmean(a) / math.sqrt(_variances(argument)[0])


def _small_sample(freedom: int) -> float:
    """Return Hedges' exact correction of a standardised difference (1981), for at least 2 degrees of freedom."""
    return math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)


def _favours(argument: Argument) -> bool:
    """Return whether the values lie on the claimed side, by what the test compares: means, or who is oftener higher."""
    a, b = argument.sides
    if argument.test != "mann_whitney" or b is None:
        return (_difference(argument) or 0.0) > 0
    return sum((ours > theirs) - (ours < theirs) for ours in a for theirs in b) > 0


def _least_p(argument: Argument) -> float:
    """Return the smallest p that the test can give at this n, whatever the values."""
    n_a, n_b = argument.n
    tails = 2 if argument.alternative == "two-sided" else 1
    if argument.test == "sign_flip":
        return min(1.0, tails / 2.0**n_a)
    if argument.test == "mann_whitney" and n_b is not None:
        return min(1.0, tails / math.comb(n_a + n_b, n_a))
    return 0.0


def _smallest(argument: Argument) -> int:
    return min(n for n in argument.n if n is not None)


def _title(argument: Argument, test: Test | None) -> str:
    if isinstance(argument.than, float) and argument.test != "sign_flip":
        return "one-sample t"
    titles: Mapping[TestName, str] = {
        "welch": "Welch's t",
        "students_t": "Student's t",
        "mann_whitney": "Mann-Whitney",
        "paired_t": "paired t",
        "sign_flip": "sign flip",
    }
    return test.name if test else titles[argument.test]
