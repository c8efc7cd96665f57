"""The known data sets, the tasks and corpora that use them, and checks of a user's copy.

A data set has the name of its source, or the name that a task card or suite gives it for `--data NAME=PATH`.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg_bench.config import Preparation, merged
from sg_bench.data.sources.base import Case, DataSetInfo, Problem, Source, declared
from sg_bench.errors import DataError, UsageError, did_you_mean
from sg_bench.registry import SOURCES
from sg_bench.resources import suites, task_cards
from sg_bench.suite import load_suite
from sg_bench.tasks import Task, is_path, read_task, read_yaml, validated


@dataclass(frozen=True)
class DataSetUse:
    """One built-in task or corpus that reads a data set."""

    who: str
    """For example "task ncc" or "3d corpus of suite targets"."""
    name: str
    """Name of the data set in `--data NAME=PATH`."""
    source: str
    config: Mapping[str, Any]
    preparation: Preparation
    task: str = ""
    """Reference of the task; "" for a corpus."""


@dataclass(frozen=True)
class DataSet:
    """A data set named in a command: its source, settings and preparation."""

    name: str
    source: str
    config: Any
    preparation: Preparation | None
    """That of the first task or corpus that uses it; None if there is none."""

    def open(self, root: Path | None) -> Source:
        """Return the source on its folder.

        Raises:
            UsageError: the source needs a folder and none is given, or the reverse.
            DataError: the folder does not exist; the hint describes the expected layout.
        """
        cls: type[Source] = SOURCES.load(self.source)
        if cls.needs_root and root is None:
            raise UsageError(
                f"'{self.name}' is read from a folder, and none is given", hint="Give its path after the name"
            )
        if not cls.needs_root and root is not None:
            raise UsageError(f"'{self.name}' is computed and reads no folder", hint="Leave the path out")
        if root is not None and not root.is_dir():
            what = "is a file, not a folder" if root.exists() else "no such folder"
            raise DataError(f"{root}: {what}", hint=f"Correct the path. {folder_layout(self.source)}".strip())
        return cls(self.config, root.resolve() if root else None)


@dataclass(frozen=True)
class ScanReport:
    """Result of scanning a data set: cases, errors and warnings."""

    cases: list[Case] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def counts(self) -> dict[str, Any]:
        """Return the numbers of `cases`, `patients` and `label_maps`, and of the cases of each of the `groups`."""
        return {
            "cases": len(self.cases),
            "patients": len({case.patient for case in self.cases}),
            "label_maps": sum(case.label is not None for case in self.cases),
            "groups": dict(sorted(Counter(case.group for case in self.cases if case.group).items())),
        }

    def summary(self) -> str:
        """Return "12 cases of 10 patients; groups: test 4, train 8"."""
        counts = self.counts()
        parts = [f"{counts['cases']} cases of {counts['patients']} patients"]
        if counts["label_maps"]:
            parts.append(f"{counts['label_maps']} with a label map")
        if counts["groups"]:
            parts.append(f"groups: {', '.join(f'{name} {count}' for name, count in counts['groups'].items())}")
        return "; ".join(parts)


def data_set_info(source: str) -> DataSetInfo | None:
    """Return the description of a source's public data set; None if it reads no public data set."""
    cls: type[Source] = SOURCES.load(source)
    return cls.about


def folder_layout(source: str) -> str:
    """Return the expected layout of a data set's folder in one line, from the docstring of its source's module."""
    module = sys.modules[SOURCES.load(source).__module__]
    _, _, rest = (inspect.getdoc(module) or "").partition("\n\n")
    return " ".join(rest.split())


def data_set_uses() -> list[DataSetUse]:
    """Return every use of a data set by the built-in task cards (all data variants) and suites."""
    found = [_use(f"task {task.label}", task, reference) for reference, task in _tasks()]
    for name in suites():
        suite = load_suite(name)
        folder = Path(suite.folder) if suite.folder else None
        for dimension, corpus in suite.corpora.items():
            who = f"{dimension} corpus of suite {name}"
            if corpus.task:
                found.append(_use(f"{who} (training part of {corpus.task})", read_task(corpus.task, folder)))
            else:
                found.append(DataSetUse(who, corpus.name, corpus.source, corpus.config, corpus.preparation))
    return found


def find_data_set(name: str, settings: Mapping[str, Any] | None = None, *, data: str = "") -> DataSet:
    """Return the data set `name`; `settings` override those of the first task or corpus that uses it.

    Args:
        name: of a data set or source; or the file of a task card or suite, for the user's own data.
        settings: of the source.
        data: which data set of a suite's file.

    Raises:
        UsageError: unknown data set or setting.
    """
    if is_path(name):
        return _of_file(Path(name), data, settings or {})
    users = data_set_uses()
    named = [use for use in users if use.name == name] or [use for use in users if use.source == name]
    if not named and name not in SOURCES.names():
        raise UsageError(f"unknown data set '{name}'", hint=did_you_mean(name, {*SOURCES.names(), *known_names(users)}))
    source = named[0].source if named else name
    config = merged(dict(named[0].config) if named else {}, dict(settings or {}))
    checked = validated(SOURCES.config(source), config, f"settings of source '{source}'")
    return DataSet(name, source, checked, named[0].preparation if named else None)


def _of_file(path: Path, data: str, settings: Mapping[str, Any]) -> DataSet:
    """Return the data set of a task card, or one of a suite."""
    if {"methods", "tasks", "extends"} & read_yaml(path).keys():
        suite = load_suite(str(path))
        tasks = [read_task(reference, Path(suite.folder)) for reference in suite.tasks]
        users = [_use(f"task {task.label}", task) for task in tasks]
        own = [each for each in suite.corpora.values() if each.name]
        users += [DataSetUse("corpus", c.name, c.source, c.config, c.preparation) for c in own]
    else:
        users = [_use("task", read_task(str(path)))]
    named = [use for use in users if data in ("", use.name)]
    if not named:
        hint = did_you_mean(data, known_names(users))
        raise UsageError(f"{path}: it uses no data '{data}'", hint=hint)
    config = merged(dict(named[0].config), dict(settings))
    checked = validated(SOURCES.config(named[0].source), config, f"{path}: settings of source '{named[0].source}'")
    return DataSet(named[0].name, named[0].source, checked, named[0].preparation)


def known_names(users: list[DataSetUse]) -> list[str]:
    """Return the names of these data sets in `--data`, sorted."""
    return sorted({use.name for use in users})


def inspect_source(source: Source) -> ScanReport:
    """Return every case and every problem that scanning can see; missing files of a declared subset are warnings.

    Raises:
        DataError: the folder holds no case, and scanning reports no error.
    """
    problems = declared(source.problems(), source.config)
    errors = [problem for problem in problems if not problem.warning]
    try:
        cases = source.scan()
    except DataError:
        if not errors:
            raise
        cases = []
    return ScanReport(cases, errors, [problem for problem in problems if problem.warning])


def _tasks() -> Iterator[tuple[str, Task]]:
    for card, path in task_cards().items():
        variants = (read_yaml(path).get("variants") or {}).get("data") or {}
        seen: list[tuple[Any, Any]] = []
        for reference in [card, *(f"{card}[data={variant}]" for variant in variants)]:
            task = read_task(reference)
            if (task.data, task.preparation) not in seen:
                seen.append((task.data, task.preparation))
                yield reference, task


def _use(who: str, task: Task, reference: str = "") -> DataSetUse:
    return DataSetUse(who, task.data.name, task.data.source, task.data.config, task.preparation, reference)
