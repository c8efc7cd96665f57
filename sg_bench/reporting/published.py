"""Published scores, read from results/published/*.yaml: value, spread, n, metric, source and certainty.

A file is one table or figure. A score that could not be read has no value, and a reason.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sg_bench import resources
from sg_bench.config import Model
from sg_bench.errors import UsageError, did_you_mean
from sg_bench.tasks import read_yaml, validated

ReadingStatus = Literal["verified", "digitised", "unknown"]
"""Printed as digits in the source; read from a figure; or not readable."""
Certainty = Literal["verified", "derived", "unresolved"]
"""Certainty of a column's metric; the values of unresolved ones are shown but not compared."""
Percent = Annotated[float, Field(ge=0, le=100)]
COMPARISONS = "comparisons"
"""Stem of the one file without scores."""


class PublishedCorpus(Model):
    """The data on which the methods of a paper were pretrained."""

    name: str
    sources: list[str] = []
    """Registered sources that read it."""


class PublishedColumn(Model):
    """One column of a published table."""

    task: str | None
    """Our task, named as by `published_task`; None if the source does not state it."""
    printed: str
    """Heading in the paper."""
    metric: str | None
    """Our metric; None if it is unresolved which one was printed."""
    certainty: Certainty
    dimensions: Literal["2d", "3d"]
    data: str
    sources: list[str] = []
    """Registered sources that read these data; runs on others are not comparable."""
    note: str = ""

    @model_validator(mode="after")
    def _resolved(self) -> PublishedColumn:
        if (self.metric is None) != (self.certainty == "unresolved"):
            raise ValueError("a column has a metric unless it is unresolved")
        return self


def _as_score(given: Any) -> Any:
    if given is None:
        return {}
    return {"value": given[0], "spread": given[1]} if isinstance(given, list) and len(given) == 2 else given


class TableValue(Model):
    """One score; written as [value, spread] in files, or null if it is unknown."""

    value: Percent | None = None
    spread: Annotated[float, Field(ge=0)] | None = None
    """Standard deviation with an unknown ddof."""
    status: ReadingStatus | None = None
    """None: that of the file."""
    note: str = ""


class PublishedRow(Model):
    """One method of a published table."""

    methods: list[str]
    """Our methods that it corresponds to, if any."""
    label: str
    """Name in the paper."""
    group: str = ""
    not_run: str = ""
    """Reason for which sg-bench does not run it."""
    note: str = ""
    scores: dict[str, Annotated[TableValue, BeforeValidator(_as_score)]]


class PublishedTest(Model):
    """The test of a base method against the same with semantics, as printed in a figure."""

    base: str
    task: str
    p: Annotated[float, Field(gt=0, le=1)] | None = None
    mark: str = ""
    """Stars, if no p-value is printed."""


class PublishedScore(Model):
    """One published score with the properties of its row, column and publication."""

    publication: str
    method: str | None
    label: str
    group: str
    not_run: str
    task: str | None
    printed: str
    metric: str | None
    certainty: Certainty
    dimensions: Literal["2d", "3d"]
    data: str
    sources: list[str]
    value: float | None
    """In percent."""
    spread: float | None
    """Standard deviation, in percent."""
    n: int | None
    """Number of runs; None: unknown."""
    status: ReadingStatus
    context: str
    """Reason for which it is not comparable; empty if it is."""
    note: str


class Publication(Model):
    """One table or figure."""

    name: str
    title: str
    citation: str
    source: str
    """The table, figure or file from which the scores were read."""
    status: ReadingStatus
    """Status of scores without one of their own."""
    why: str = ""
    """Reason for which unknown scores are unknown."""
    units: Literal["percent"]
    reading_error: Annotated[float, Field(ge=0)] = 0.0
    """Maximum error of scores read from a figure, in percent."""
    context: str = ""
    """Reason for which the scores are not comparable; empty if they are."""
    corpus: PublishedCorpus | None = None
    n: Annotated[int, Field(ge=1)] | None
    n_assumed: Annotated[int, Field(ge=2)] | None = None
    """Value of n that is assumed if a comparison needs one."""
    n_note: str
    requires: dict[str, Any] = {}
    """Settings required in the recipe of a comparable cell, by dotted path."""
    notes: list[str] = []
    footnotes: list[str] = []
    """The footnotes of the table, quoted."""
    columns: dict[str, PublishedColumn]
    rows: list[PublishedRow]
    significance: list[PublishedTest] = []

    @model_validator(mode="after")
    def _complete(self) -> Publication:
        for row in self.rows:
            for name, score in row.scores.items():
                if name not in self.columns:
                    raise ValueError(f"row '{row.label}': {did_you_mean(name, self.columns)}")
                unknown = (score.status or self.status) == "unknown"
                if unknown != (score.value is None):
                    raise ValueError(f"row '{row.label}', {name}: a score is unknown if and only if it has no value")
                if unknown and not (score.note or self.why):
                    raise ValueError(f"row '{row.label}', {name}: give the reason why it is unknown")
        return self

    @property
    def entries(self) -> list[PublishedScore]:
        """Return all scores, row by row; a row that corresponds to two of our methods yields one for each."""
        return list(self._entries())

    def find(self, method: str, task: str | None = None, metric: str | None = None) -> list[PublishedScore]:
        """Return the scores of one of our methods, optionally of one task and metric."""
        return [
            entry
            for entry in self.entries
            if entry.method == method and task in (None, entry.task) and metric in (None, entry.metric)
        ]

    def _entries(self) -> Iterator[PublishedScore]:
        for row in self.rows:
            for name, score in row.scores.items():
                column = self.columns[name]
                reason = self.why if score.value is None and not score.note else ""
                yield from (
                    PublishedScore(
                        publication=self.name,
                        method=method,
                        **row.model_dump(include={"label", "group", "not_run"}),
                        **column.model_dump(exclude={"note"}),
                        value=score.value,
                        spread=score.spread,
                        n=self.n,
                        status=score.status or self.status,
                        context=self.context,
                        note=" ".join(filter(None, (score.note, reason, row.note, column.note))),
                    )
                    for method in row.methods or (None,)
                )


class ComparisonRow(Model):
    """One row of a comparison."""

    method: str
    base: str = ""
    """The same method without semantics, if the two are a pair."""
    note: str = ""


class PaperComparison(Model):
    """One of the papers' five comparisons."""

    name: str
    title: str
    rows: list[ComparisonRow]
    tasks: list[str]
    published: list[str]
    """Publications to compare with; of several with a score, the first is used."""

    @property
    def methods(self) -> list[str]:
        """Return the rows' methods in reading order."""
        return [row.method for row in self.rows]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return (base, with semantics) of every pair."""
        return [(row.base, row.method) for row in self.rows if row.base]


class _Comparisons(Model):
    comparisons: list[PaperComparison]


def publications() -> list[str]:
    """Return the names of all publications, in alphabetical order."""
    return sorted(_files())


@functools.cache
def load_published(name: str) -> Publication:
    """Return a publication by its name.

    Raises:
        UsageError: there is no such publication, or its file is invalid.
    """
    files = _files()
    if name not in files:
        raise UsageError(f"no published numbers '{name}'", hint=did_you_mean(name, files))
    return validated(Publication, {**read_yaml(files[name]), "name": name}, str(files[name]))


def comparisons() -> list[PaperComparison]:
    """Return the papers' five comparisons, in their order."""
    path = resources.published() / f"{COMPARISONS}.yaml"
    return validated(_Comparisons, read_yaml(path), str(path)).comparisons


def published_task(name: str, *, slices: bool) -> str:
    """Return the name of a task in publications: that of its card, marked if it is processed slice by slice.

    All other variants (data, fractions of the labels) have the name of the card; compare.py decides whether their
    scores are comparable.
    """
    return f"{name}[protocol=slices]" if slices else name


def scores_to_compare(comparison: PaperComparison) -> list[PublishedScore]:
    """Return the published scores of a comparison's methods and tasks, each from the first publication that has it."""
    found: dict[tuple[str, str], PublishedScore] = {}
    for name in comparison.published:
        for entry in load_published(name).entries:
            if entry.method in comparison.methods and entry.task in comparison.tasks:
                earlier = found.get((entry.method, entry.task))
                if earlier is None or earlier.value is None:
                    found[entry.method, entry.task] = entry
    return list(found.values())


def published_text(entry: PublishedScore) -> str:
    """Return "98.46 ± 0.30" in percent, with "≈" if it was read from a figure, or "?" if it is unknown."""
    if entry.value is None:
        return "?"
    spread = "" if entry.spread is None else f" ± {entry.spread:.2f}"
    return f"{'≈ ' if entry.status == 'digitised' else ''}{entry.value:.2f}{spread}"


def papers_table(published: Publication) -> str:
    """Return a publication as a Markdown table with the rows, columns and names of the paper."""
    columns = list(published.columns)
    head = ["", *(published.columns[name].printed for name in columns)]
    shown = {(entry.label, entry.printed): published_text(entry) for entry in published.entries}
    body = [[row.label, *(shown.get((row.label, text), "") for text in head[1:])] for row in published.rows]
    legend = f"Percent{', mean ± standard deviation' if any(' ± ' in text for text in shown.values()) else ''}."
    marks = {"≈": "≈: read from a figure.", "?": f"?: {published.why}"}
    explained = [text for mark, text in marks.items() if any(mark in text for text in shown.values())]
    lines = [f"# {published.title}", f"{published.citation} {published.source}", _grid([head, *body])]
    return "\n\n".join([*lines, " ".join([legend, *explained]), *published.notes, *published.footnotes]) + "\n"


def _grid(lines: Sequence[Sequence[str]]) -> str:
    rule = [":---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(_line(cells) for cells in (lines[0], rule, *lines[1:]))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(text.replace('|', '/') for text in cells)} |"


def _files() -> dict[str, Path]:
    return {path.stem: path for path in resources.published().glob("*.yaml") if path.stem != COMPARISONS}
