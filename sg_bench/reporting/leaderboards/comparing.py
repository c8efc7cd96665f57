"""Which runs of several submissions can be compared: those of one task in one setting, and what differs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from sg_bench.config import key_of
from sg_bench.evaluation.metrics import higher_is_better, scale_of
from sg_bench.ledger import Record
from sg_bench.reporting.documents import DASH
from sg_bench.reporting.evidence import Run
from sg_bench.reporting.intervals import score_interval
from sg_bench.reporting.leaderboards.manifest import corpora_of
from sg_bench.reporting.leaderboards.submissions import Submission
from sg_bench.reporting.networks import network_identity
from sg_bench.reporting.page.ranks import ColumnRanking, ranking
from sg_bench.reporting.render import ScoreTexts, column_heading
from sg_bench.reporting.tables import ScoreSummary, Table, main_table

ASPECTS: Final = {
    "version of the task": tuple(
        f"task.{name}" for name in ("version", "kind", "headline", "parity", "secondary", "target")
    ),
    "data": ("store.", "task.findings", "task.preparation."),
    "split": ("task.split.",),
    "budget": ("task.fraction", "task.shots", "task.training.steps", "task.training.epochs", "task.training.patience"),
    "fine-tuning protocol": ("task.",),
}
"""What must be the same in all runs that are compared, with the parts of a recipe that hold it; the first fits."""
SHOWN: Final = ("task.version", "store.source", "task.fraction", "task.training.steps", "task.frozen", "task.probe")
"""Settings that a heading names."""


@dataclass(frozen=True)
class BoardRun:
    """One finished run of a submission, as a cell of a board's table."""

    key: str
    """Its place among the submissions and its ledger key."""
    method: str
    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    missing: str | None = None


@dataclass(frozen=True)
class BoardMethod:
    """A method of a submission in one setting."""

    label: str
    submission: Submission
    runs: Sequence[Run] = field(repr=False)
    planned: int

    @property
    def title(self) -> str:
        """Return its name in the table, which is unique on a board."""
        return f"{self.label} · {self.submission.name}"

    @property
    def network(self) -> str:
        """Return the name of its network."""
        config = self._initialisation.get("config") or {}
        return network_identity(config)[0] if config else ""

    @property
    def pretrained_on(self) -> tuple[str, ...]:
        """Return the data sets that it was pretrained on here; empty for published weights and for none."""
        return tuple(dict.fromkeys(str(store["source"]) for store in corpora_of(self._initialisation)))

    @property
    def leaks(self) -> tuple[str, ...]:
        """Return why the method may have seen test data."""
        return tuple(dict.fromkeys(str(run.record["leak"]) for run in self.runs if run.record.get("leak")))

    @property
    def _initialisation(self) -> Mapping[str, Any]:
        initialisation: Mapping[str, Any] = self.runs[0].record["recipe"]["initialisation"]
        return initialisation


@dataclass(frozen=True)
class BoardScore(ScoreTexts):
    """A method's score on a task under one metric."""

    summary: ScoreSummary
    standing: str | None
    """best, inseparable (from the best) or separable."""
    rank: str

    @property
    def interval(self) -> str:
        """Return the 95 % interval of the mean over the units, or a dash."""
        found = score_interval(self.summary.units.values, self.summary.metric) if self.summary.n else None
        scale = scale_of(self.summary.metric)
        return f"{scale * found.low:.2f}{DASH}{scale * found.high:.2f}" if found else DASH


@dataclass(frozen=True)
class ComparableRuns:
    """All runs of one task in one setting: the same version, data, split, budget and fine-tuning protocol."""

    task: str
    letter: str
    """Of the setting among those of the task."""
    settings: Mapping[str, str] = field(repr=False)
    """By dotted name."""
    methods: tuple[BoardMethod, ...]

    @property
    def title(self) -> str:
        """Return "ncc A"."""
        return f"{self.task} {self.letter}"

    @property
    def shown(self) -> list[str]:
        """Return the settings that a heading names, as "steps = 40"."""
        return [f"{name.rpartition('.')[2]} = {self.settings[name]}" for name in SHOWN if name in self.settings]

    @cached_property
    def table(self) -> Table:
        """The table of its methods, a row for each method of each submission."""
        cells, records = list[BoardRun](), dict[str, Record]()
        for place, method in enumerate(self.methods):
            for run in method.runs:
                key = f"{place}:{run.cell.key}"
                records[key] = run.record
                cells.append(BoardRun(key, method.title, self.task, *run.seeds))
            lacking = range(method.planned - len(method.runs))
            cells += [BoardRun("", method.title, self.task, -1, -1 - number) for number in lacking]
        return main_table(cells, records)

    @cached_property
    def rankings(self) -> dict[int, ColumnRanking]:
        """The ranking of each printed column of the table."""
        return {index: ranking(self.table, index) for index in self.table.printed}

    @property
    def headings(self) -> list[str]:
        """Return the headings of the printed columns."""
        return [column_heading(self.table.columns[index]).text for index in self.table.printed]

    @property
    def untested(self) -> str:
        """Return why the best was not tested against the others, or ""."""
        return self.rankings[self.table.printed[0]].untested

    def scores(self, method: BoardMethod) -> list[BoardScore]:
        """Return the scores of a method in the printed columns, the headline metric first."""
        row = next(row for row in self.table.rows if row.method == method.title)
        return [
            BoardScore(row.summaries[index], found.ties.word(row.method), found.text(row.method))
            for index, found in self.rankings.items()
        ]

    def address(self, method: BoardMethod) -> str:
        """Return the address of a method's runs on the page of its submission."""
        return f"submission-{method.submission.name}.html#{self.anchor(method)}"

    def anchor(self, method: BoardMethod) -> str:
        """Return the place of a method's runs on that page."""
        return re.sub(r"[^A-Za-z0-9]+", "-", f"{self.title} {method.label}")

    def ordered(self) -> list[tuple[BoardMethod, list[BoardScore]]]:
        """Return the methods with their scores, the best mean of the headline metric first."""
        rows = [(method, self.scores(method)) for method in self.methods]
        sign = -1 if higher_is_better(rows[0][1][0].summary.metric) else 1
        return sorted(
            rows, key=lambda row: (not row[1][0].summary.n, sign * (row[1][0].summary.mean or 0.0), row[0].title)
        )


@dataclass(frozen=True)
class SettingDifference:
    """A part of the recipe that differs between the settings of a task."""

    aspect: str
    name: str
    values: tuple[str, ...]
    """One for each setting."""


def comparable(submissions: Sequence[Submission]) -> list[ComparableRuns]:
    """Return the groups of runs that can be compared, task by task, the ones with most methods first."""
    groups: dict[tuple[str, str], list[BoardMethod]] = {}
    contents: dict[tuple[str, str], dict[str, str]] = {}
    for submission in submissions:
        planned = {(runs.method, runs.task): runs.planned for runs in submission.manifest.runs}
        for place, runs in submission.evidence.runs.items():
            parts: dict[tuple[str, str], list[Run]] = {}
            for run in runs:
                recipe = run.record["recipe"]
                group = recipe["task"]["name"], key_of([recipe["task"], recipe["store"]])
                parts.setdefault(group, []).append(run)
                if group not in contents:
                    contents[group] = dict(_flat({"task": recipe["task"], "store": recipe["store"]}))
            for number, (group, found) in enumerate(parts.items()):
                lacking = max(0, planned.get(place, 0) - len(runs)) if not number else 0
                method = BoardMethod(place[0], submission, found, len(found) + lacking)
                groups.setdefault(group, []).append(method)
    order = sorted(groups, key=lambda group: (group[0], -len(groups[group]), group[1]))
    letters = {task: [group for group in order if group[0] == task] for task, _ in order}
    return [
        ComparableRuns(group[0], _letter(letters[group[0]].index(group)), contents[group], _labelled(groups[group]))
        for group in order
    ]


def differences(settings: Sequence[ComparableRuns]) -> list[SettingDifference]:
    """Return what differs between the settings of one task, in the order of `ASPECTS`."""
    names = dict.fromkeys(name for each in settings for name in each.settings)
    found = [
        SettingDifference(_aspect(name), name.partition(".")[2], values)
        for name in names
        if len(set(values := tuple(each.settings.get(name, DASH) for each in settings))) > 1
    ]
    order = list(ASPECTS)
    return sorted(found, key=lambda each: (order.index(each.aspect), each.name))


def reproductions(submissions: Sequence[Submission]) -> dict[str, list[tuple[str, bool]]]:
    """Return for each ledger key that several submissions have (submission, whether its scores equal the first's)."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for submission in submissions:
        for runs in submission.evidence.runs.values():
            for run in runs:
                found.setdefault(run.cell.key, []).append((submission.name, run.record["metrics"]))
    return {
        key: [(name, metrics == several[0][1]) for name, metrics in several]
        for key, several in found.items()
        if len(several) > 1
    }


def _labelled(methods: Sequence[BoardMethod]) -> tuple[BoardMethod, ...]:
    """Return methods with labels that differ within each submission."""
    seen: dict[str, int] = {}
    named = []
    for method in methods:
        number = seen[method.title] = seen.get(method.title, 0) + 1
        label = method.label if number == 1 else f"{method.label} ({number})"
        named.append(BoardMethod(label, method.submission, method.runs, method.planned))
    return tuple(named)


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"Z{number - 25}"


def _aspect(name: str) -> str:
    return next(aspect for aspect, starts in ASPECTS.items() if any(name.startswith(start) for start in starts))


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield each setting of a recipe with its dotted name; lists count as one value."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(each, f"{place}.{name}" if place else str(name))
    else:
        text = DASH if value is None or value in ({}, []) else str(value)
        yield place, text if len(text) <= 120 else f"{text[:119]}…"
