"""Comparison of a run with published scores, or of two runs: consistent, higher, lower, or not comparable.

The tolerance of a difference is the half-width of the 95 % interval of the difference of two means (Welch), computed
from the spread on both sides. So one in twenty comparable scores without a true difference is called higher or lower by
chance. Scores are fractions in [0, 1]; a difference is the first side minus the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from sg_bench.config import differences, key_of
from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.published import Publication, PublishedScore, published_task
from sg_bench.statistics.samples import finite, variance
from sg_bench.statistics.two_sample import MIN_UNITS
from sg_bench.statistics.units import Units

ComparisonVerdict = Literal["consistent", "higher", "lower", "not comparable"]
CONFIDENCE = 0.95
CHECKPOINT = "about this checkpoint only"
"""Remark on results from a single pretraining."""


@dataclass(frozen=True)
class ScoreEstimate:
    """The score of one side of a comparison."""

    mean: float | None
    std: float | None
    """Standard deviation; of our units with ddof 1, of papers with an unknown ddof."""
    n: int | None
    """Number of independent units; None: unknown."""
    population_std: float | None = None
    """Standard deviation with ddof 0; of our units only."""
    assumed: bool = False
    """n is assumed, since it was not published."""
    read_from_figure: bool = False

    @property
    def error(self) -> float | None:
        """Return the standard error of the mean, or None if the spread or n is unknown."""
        return None if self.std is None or self.n is None else self.std / math.sqrt(self.n)


@dataclass(frozen=True)
class ScoreComparison:
    """The comparison of one method on one task."""

    method: str
    task: str
    metric: str
    first: ScoreEstimate
    second: ScoreEstimate
    verdict: ComparisonVerdict
    difference: float | None = None
    """First minus second; None if the two are not comparable."""
    tolerance: float | None = None
    """Bound of the difference in 95 % of cases without a true difference."""
    z: float | None = None
    """Difference divided by its standard error."""
    reasons: tuple[str, ...] = ()
    """Reasons for which the two are not comparable."""
    remarks: tuple[str, ...] = ()
    """Cautions on the verdict."""


@dataclass(frozen=True, repr=False)
class RunComparison:
    """All scores of a comparison, and other differences between the two sides."""

    first: str
    second: str
    """Names of the two sides."""
    lines: tuple[ScoreComparison, ...]
    notes: tuple[str, ...] = ()
    recipes: Mapping[str, tuple[str, ...]] | None = None
    """Of two runs: each "field: first -> second" that differs, with the cells ("method on task") concerned."""

    @property
    def differs(self) -> bool:
        """Return whether any difference exceeds its tolerance."""
        return any(line.verdict in ("higher", "lower") for line in self.lines)

    def __repr__(self) -> str:
        from sg_bench.reporting.compare_text import compared_markdown

        return compared_markdown(f"{self.first} and {self.second}", self)

    def _repr_html_(self) -> str:
        from sg_bench.reporting.compare_text import compared_document

        return compared_document(self).html()


def compare_with_published(evidence: Evidence, published: Publication, name: str = "ours") -> RunComparison:
    """Compare each method and task that the run and the publication have in common, under the printed metric."""
    lines = []
    for method, task in evidence.runs:
        card = evidence.runs[method, task][0].record["recipe"]["task"]
        name_there = published_task(card["name"], slices=bool(card.get("sampling", {}).get("slices")))
        entries = published.find(evidence.method_name(method), name_there)
        lines += [_with_published(evidence, method, task, entry, published) for entry in entries]
    known = "" if published.n else f" Where n is needed, {published.n_assumed} is assumed."
    count = f"Number of runs behind {published.name}: {published.n or 'unknown'}. {published.n_note}"
    notes = (f"{published.citation} {published.source}", count + (known if published.n_assumed else ""))
    return RunComparison(name, published.name, tuple(lines), (*notes, *published.notes))


def compare_runs(first: Evidence, second: Evidence, names: tuple[str, str] = ("first", "second")) -> RunComparison:
    """Compare each method and task (by label) that two runs have in common, under the headline metric of the first."""
    both = [place for place in first.runs if place in second.runs]
    lines = tuple(_side_by_side(first, second, *place) for place in both)
    notes = [_only(name, one, other) for name, one, other in zip(names, (first, second), (second, first), strict=True)]
    return RunComparison(*names, lines, tuple(filter(None, notes)), _recipes(first, second, both))


def _with_published(
    evidence: Evidence, method: str, task: str, entry: PublishedScore, published: Publication
) -> ScoreComparison:
    units = evidence.units(method, task, entry.metric) if entry.metric else Units((), (), "fine-tuning")
    ours, theirs = _measured(units), _printed(entry, published)
    reasons = [*_other_recipe(evidence.runs[method, task], entry, published), *_other_metric(entry, units)]
    reasons += _too_few(units) if units.n else []
    if entry.value is not None:
        reasons += ["no spread published"] if theirs.std is None else []
        reasons += ["n of the publication is unknown"] if theirs.n is None else []
    remarks = [CHECKPOINT] if units.kind == "fine-tuning" else []
    remarks += [f"published n = {theirs.n} is assumed"] if theirs.assumed else []
    remarks += [f"published value read from a figure, ± {published.reading_error:g}"] if theirs.read_from_figure else []
    slack = published.reading_error / 100 if theirs.read_from_figure else 0.0
    remarks = [] if reasons else remarks  # cautions are for comparable scores only
    return _judged(method, task, entry.metric or entry.printed, ours, theirs, reasons, remarks, slack)


def _side_by_side(first: Evidence, second: Evidence, method: str, task: str) -> ScoreComparison:
    metric = first.headline(task) or ""
    units = [evidence.units(method, task, metric) for evidence in (first, second)]
    ours, theirs = (_measured(each) for each in units)
    runs = first.runs[method, task], second.runs[method, task]
    same, other = _shared(*runs)
    if same == len(runs[0]) == len(runs[1]):
        return _judged(method, task, metric, ours, theirs, [], ["the same runs"], 0.0, same=True)
    reasons = list(_other_data(*runs))
    if second.headline(task) != metric:
        reasons.append(f"other metric: {metric} and {second.headline(task)}")
    reasons += dict.fromkeys(reason for each in units for reason in _too_few(each))
    remarks = [CHECKPOINT] if any(each.kind == "fine-tuning" for each in units) else []
    remarks += [f"{same} runs are the same on both sides"] if same else []
    remarks += [f"{other} runs of one recipe came out differently"] if other else []
    return _judged(method, task, metric, ours, theirs, reasons, remarks, 0.0)


def _judged(
    method: str,
    task: str,
    metric: str,
    first: ScoreEstimate,
    second: ScoreEstimate,
    reasons: Sequence[str],
    remarks: Sequence[str],
    slack: float,
    *,
    same: bool = False,
) -> ScoreComparison:
    """Return the comparison with its verdict; `slack` (a reading error) is added to the tolerance."""
    difference = None if first.mean is None or second.mean is None else first.mean - second.mean
    who = (method, task, metric, first, second)
    if same:
        return ScoreComparison(*who, "consistent", difference, remarks=tuple(remarks))
    error = _error(first, second)
    if not reasons and not error:
        reasons = ["no spread on either side"]
    if reasons or difference is None or not error:
        return ScoreComparison(*who, "not comparable", reasons=tuple(reasons), remarks=tuple(remarks))
    tolerance = _quantile(first, second) * error + slack
    verdict: ComparisonVerdict = (
        "consistent" if abs(difference) <= tolerance else "higher" if difference > 0 else "lower"
    )
    return ScoreComparison(*who, verdict, difference, tolerance, difference / error, (), tuple(remarks))


def _error(first: ScoreEstimate, second: ScoreEstimate) -> float | None:
    """Return the standard error of the difference of two means."""
    if first.error is None or second.error is None:
        return None
    return math.hypot(first.error, second.error)


def _quantile(first: ScoreEstimate, second: ScoreEstimate) -> float:
    """Return the t quantile of the difference, with the degrees of freedom of Welch and Satterthwaite."""
    from scipy.special import stdtrit

    parts = [(side.error**2, side.n - 1) for side in (first, second) if side.error and side.n]
    df = sum(part for part, _ in parts) ** 2 / sum(part**2 / free for part, free in parts)
    return float(stdtrit(df, (1 + CONFIDENCE) / 2))


def _measured(units: Units) -> ScoreEstimate:
    if not units.n:
        return ScoreEstimate(None, None, 0)
    sample = finite(units.values)
    std = math.sqrt(variance(sample)) if units.n > 1 else None
    population = None if std is None else std * math.sqrt((units.n - 1) / units.n)
    return ScoreEstimate(fmean(units.values), std, units.n, population)


def _printed(entry: PublishedScore, published: Publication) -> ScoreEstimate:
    value = None if entry.value is None else entry.value / 100
    spread = None if entry.spread is None else entry.spread / 100
    assumed = entry.n is None and published.n_assumed is not None
    n = published.n_assumed if assumed else entry.n
    return ScoreEstimate(value, spread, n, assumed=assumed, read_from_figure=entry.status == "digitised")


def _other_recipe(runs: Sequence[Run], entry: PublishedScore, published: Publication) -> Iterator[str]:
    """Yield the differences between the data and settings of the runs and of the publication."""
    recipes = [run.record["recipe"] for run in runs]
    data = {recipe["store"]["source"] for recipe in recipes} - set(entry.sources)
    if data:
        yield f"other data: {_list(data)}, not {entry.data}"
    corpora = {
        recipe["initialisation"]["corpus"]["store"]["source"]
        for recipe in recipes
        if recipe["initialisation"].get("corpus")
    }
    if published.corpus and corpora - set(published.corpus.sources):
        yield f"other corpus: {_list(corpora)}, not {published.corpus.name}"
    for path, wanted in published.requires.items():
        found = {_at(recipe, path) for recipe in recipes} - {wanted, _ABSENT}
        if found:
            yield f"{path} is {_list(found)}, theirs {'none' if wanted is None else wanted}"
    if entry.context:
        yield entry.context


def _other_metric(entry: PublishedScore, units: Units) -> Iterator[str]:
    if entry.value is None:
        yield f"the published value is unknown: {entry.note}"
    elif entry.metric is None:
        yield f"other metric: it is not resolved which one {entry.printed} is"
    elif not units.n:
        yield f"other metric: the run has no {entry.metric}, which {entry.printed} is"


def _other_data(first: Sequence[Run], second: Sequence[Run]) -> Iterator[str]:
    stores, splits = (
        [{key_of(_at(run.record["recipe"], path)) for run in runs} for runs in (first, second)]
        for path in ("store", "task.split")
    )
    if stores[0] != stores[1]:
        yield "other data"
    if splits[0] != splits[1]:
        yield "other patients: the split differs"


def _too_few(units: Units) -> list[str]:
    what = "runs" if units.kind == "fine-tuning" else "pretrainings"
    return [f"n = {units.n} {what}, below {MIN_UNITS}"] if units.n < MIN_UNITS else []


def _shared(first: Sequence[Run], second: Sequence[Run]) -> tuple[int, int]:
    """Return the numbers of common keys with equal and with unequal metrics."""
    theirs = {run.record["key"]: run.record["metrics"] for run in second}
    found = [run.record["metrics"] == theirs[run.record["key"]] for run in first if run.record["key"] in theirs]
    return sum(found), len(found) - sum(found)


def _recipes(first: Evidence, second: Evidence, both: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for method, task in both:
        theirs = {run.seeds: run.record for run in second.runs[method, task]}
        for run in first.runs[method, task]:
            other = theirs.get(run.seeds)
            if other and other["key"] != run.record["key"]:
                for line in differences(run.record["recipe"], other["recipe"]):
                    found.setdefault(line, {})[f"{method} on {task}"] = None
    return {line: tuple(places) for line, places in found.items()}


def _only(name: str, one: Evidence, other: Evidence) -> str:
    places = [f"{method} on {task}" for method, task in one.runs if (method, task) not in other.runs]
    return f"Only in {name}: {', '.join(places)}" if places else ""


_ABSENT = object()


def _at(recipe: Mapping[str, Any], path: str) -> Any:
    """Return the setting at a dotted path, or `_ABSENT`."""
    found: Any = recipe
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _ABSENT
        found = found[part]
    return found


def _list(values: set[Any]) -> str:
    return ", ".join(sorted(str(value) for value in values))
