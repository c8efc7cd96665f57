"""Evaluation of claims that were specified in advance: supported, not supported, or cannot be decided.

"Not supported" means that no difference was found, not that there is none. If a claim states its least relevant
difference and the test has too little power for it, the claim cannot be decided. A claim that cannot be tested counts
as a member of its family with p = 1, so that missing runs do not make other claims easier.
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
from sg_bench.statistics.power import POWER, PowerAlternative, detectable, power_of, units_needed
from sg_bench.statistics.samples import variance
from sg_bench.statistics.two_sample import MIN_UNITS, TestResult
from sg_bench.statistics.units import Units

TestName = Literal["welch", "students_t", "mann_whitney", "paired_t", "sign_flip"]
ClaimOutcome = Literal["supported", "not supported", "cannot be decided"]
PAIRED = ("paired_t", "sign_flip")


@dataclass(frozen=True)
class ClaimData:
    """A claim and its units. Scores are fractions in [0, 1] or of another unit, higher is better."""

    name: str
    better: Units
    than: Units | float
    test: TestName = "welch"
    """Against a number, both t-tests of two samples become the one-sample t-test."""
    alternative: PowerAlternative = "two-sided"
    alpha: float = 0.05
    """Level of the family."""
    family: str = "claims"
    least_difference: float | None = None
    """The smallest relevant difference of scores."""
    lacking: tuple[str, ...] = ()
    """Why specified units are missing; if any is, no test is made."""
    scale: float = 100.0
    """Factor of printed differences: 100 for fractions, which are printed in percentage points."""

    @cached_property
    def sides(self) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Values of both sides; or differences and None, for a paired test or against a number."""
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
        """Whether a side has one pretraining, so that the outcome does not hold for its method in general."""
        sides = [self.better] if isinstance(self.than, float) else [self.better, self.than]
        return any(side.kind == "fine-tuning" for side in sides)


@dataclass(frozen=True)
class ClaimVerdict:
    """Outcome of one claim with its statistics."""

    name: str
    outcome: ClaimOutcome
    reason: str
    checkpoint_only: bool
    """One pretraining: the outcome is about this checkpoint only."""
    test: str
    n: tuple[int, int | None]
    """Units of both sides, or of differences and None."""
    comparisons: int
    """Claims in the family."""
    p: float | None = None
    adjusted: float | None = None
    """p after Holm's correction within the family."""
    difference: float | None = None
    """Of the means, or the mean difference, as a fraction."""
    effect: float | None = None
    """Hedges' g; of differences, their mean over their standard deviation, with the same correction."""
    power: float | None = None
    """Power for the stated least difference, else for the observed one, at this n and in this family; that of the
    t-test also for rank and sign-flip tests."""


def evaluate_claims(claims_data: Sequence[ClaimData]) -> list[ClaimVerdict]:
    """Return the verdict on each claim, with Holm's correction within each family."""
    tests = {data.name: _tested(data) for data in claims_data}
    ps = {name: 1.0 if test is None or not math.isfinite(test.p) else test.p for name, test in tests.items()}
    verdicts = []
    for data in claims_data:
        family = {other.name: ps[other.name] for other in claims_data if other.family == data.family}
        floor = holm({**family, data.name: _least_p(data)})[data.name]
        verdicts.append(_verdict(data, tests[data.name], holm(family)[data.name], floor, len(family)))
    return verdicts


def _tested(data: ClaimData) -> TestResult | None:
    """Return the test of a claim; None if units are missing or too few."""
    a, b = data.sides
    if data.lacking or _smallest(data) < MIN_UNITS:
        return None
    if b is None:
        paired = two_sample.sign_flip if data.test == "sign_flip" else two_sample.paired_t
        return paired(a, (0.0,) * len(a), alternative=data.alternative)
    unpaired = {
        "welch": two_sample.welch,
        "students_t": two_sample.students_t,
        "mann_whitney": two_sample.mann_whitney,
    }
    return unpaired[data.test](a, b, alternative=data.alternative)


def _verdict(data: ClaimData, test: TestResult | None, adjusted: float, floor: float, comparisons: int) -> ClaimVerdict:
    """Return one verdict.

    Args:
        data: the claim and its units.
        test: None if there are too few units, or if it is undefined.
        adjusted: its adjusted p-value.
        floor: the smallest adjusted p-value that this number of units can reach.
        comparisons: claims in the family.
    """
    tested = test is not None and math.isfinite(test.p)
    power = None if data.lacking else _power(data, comparisons)
    outcome, reason = _undecided(data, floor, tested=tested) or _decided(data, adjusted, power, comparisons)
    return ClaimVerdict(
        data.name,
        outcome,
        reason,
        data.checkpoint_only,
        _title(data, test),
        data.n,
        comparisons,
        p=test.p if test and tested else None,
        adjusted=adjusted if tested else None,
        difference=_difference(data),
        effect=None if data.lacking else _effect(data),
        power=power,
    )


def _undecided(data: ClaimData, floor: float, *, tested: bool) -> tuple[ClaimOutcome, str] | None:
    """Return why the claim cannot be decided with any values, or None."""
    if data.lacking:
        return "cannot be decided", "; ".join(data.lacking)
    if _smallest(data) < MIN_UNITS:
        return "cannot be decided", f"n = {_smallest(data)}, and no test is made below n = {MIN_UNITS}"
    if not tested:
        return "cannot be decided", "the test is undefined: the values do not vary"
    if floor > data.alpha:
        reason = f"no values of {data.n[0]} units can reach {data.alpha:g} in this family"
        return "cannot be decided", f"{reason}: the smallest adjusted p is {floor:.3g}"
    return None


def _decided(data: ClaimData, adjusted: float, power: float | None, comparisons: int) -> tuple[ClaimOutcome, str]:
    found = f"adjusted p {adjusted:.2g}"
    if adjusted <= data.alpha and _favours(data):
        return "supported", f"{found} is at most {data.alpha:g}"
    if adjusted <= data.alpha:
        return "not supported", f"the difference is in the opposite direction ({found})"
    found = f"{found} is above {data.alpha:g}"
    if data.least_difference is None or power is None:
        return "not supported", f"{found}; {_detectable(data, comparisons)}"
    points = " points" if data.scale == 100 else ""
    least = f"a difference of {data.scale * data.least_difference:.2f}{points}"
    if power >= POWER:
        return "not supported", f"{found}, although the power for {least} was {power:.2f}"
    return "cannot be decided", f"{found}, but the power for {least} is only {power:.2f} at this n" + (
        _more(data, comparisons)
    )


def _detectable(data: ClaimData, comparisons: int) -> str:
    least = detectable(*data.n, comparisons, data.alpha, alternative=data.alternative, ratio=_spread(data)[1])
    return f"at this n the power for an effect of {least:.2f} standard deviations is {POWER:g}"


def _more(data: ClaimData, comparisons: int) -> str:
    """Return the text on the number of units needed for the least difference."""
    spread, ratio = _spread(data)
    needed = units_needed(
        (data.least_difference or 0.0) / spread,
        comparisons,
        data.alpha,
        sides=1 if data.n[1] is None else 2,
        alternative=data.alternative,
        ratio=ratio,
        least=MIN_UNITS,
    )
    return f"; {needed} {data.better.kind} seeds would suffice" if needed else ""


def _power(data: ClaimData, comparisons: int) -> float | None:
    """Return the power for the stated least difference, else the observed one; None without variance."""
    spread, ratio = _spread(data)
    difference = _difference(data) if data.least_difference is None else data.least_difference
    if not spread or difference is None:
        return None
    n_a, n_b = data.n
    if ratio is not None and n_b is not None and _variances(data)[0] < _variances(data)[1]:
        n_a, n_b = n_b, n_a
    effect, alternative = difference / spread, data.alternative
    return power_of(effect, n_a, n_b, comparisons=comparisons, alpha=data.alpha, alternative=alternative, ratio=ratio)


def _spread(data: ClaimData) -> tuple[float, float | None]:
    """Return the standard deviation that effects are divided by, 0 if unknown, and Welch's ratio of variances."""
    variances = _variances(data)
    spread = math.sqrt(fmean(variances)) if variances else 0.0
    welch = data.test == "welch" and data.n[1] is not None and spread > 0
    return spread, min(variances) / max(variances) if welch else None


def _variances(data: ClaimData) -> list[float]:
    sides = [side for side in data.sides if side is not None]
    return [variance(np.asarray(side)) for side in sides] if all(len(side) > 1 for side in sides) else []


def _difference(data: ClaimData) -> float | None:
    a, b = data.sides
    if not a or (b is not None and not b):
        return None
    return fmean(a) - (fmean(b) if b else 0.0)


def _effect(data: ClaimData) -> float | None:
    a, b = data.sides
    if len(a) < 3 or not _spread(data)[0]:
        return None
    if b is not None:
        return hedges_g(a, b)
    return _small_sample(len(a) - 1) * fmean(a) / math.sqrt(_variances(data)[0])


def _small_sample(freedom: int) -> float:
    """Return Hedges' exact correction of a standardised difference (1981), for at least 2 degrees of freedom."""
    return math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)


def _favours(data: ClaimData) -> bool:
    """Return whether the values support the claim's direction: by means, or by pairwise wins for Mann-Whitney."""
    a, b = data.sides
    if data.test != "mann_whitney" or b is None:
        return (_difference(data) or 0.0) > 0
    return sum((ours > theirs) - (ours < theirs) for ours in a for theirs in b) > 0


def _least_p(data: ClaimData) -> float:
    """Return the smallest p-value that the test can give at this n."""
    n_a, n_b = data.n
    tails = 2 if data.alternative == "two-sided" else 1
    if data.test == "sign_flip":
        return min(1.0, tails / 2.0**n_a)
    if data.test == "mann_whitney" and n_b is not None:
        return min(1.0, tails / math.comb(n_a + n_b, n_a))
    return 0.0


def _smallest(data: ClaimData) -> int:
    return min(n for n in data.n if n is not None)


def _title(data: ClaimData, test: TestResult | None) -> str:
    if isinstance(data.than, float) and data.test != "sign_flip":
        return "one-sample t"
    titles: Mapping[TestName, str] = {
        "welch": "Welch's t",
        "students_t": "Student's t",
        "mann_whitney": "Mann-Whitney",
        "paired_t": "paired t",
        "sign_flip": "sign flip",
    }
    return test.name if test else titles[data.test]
