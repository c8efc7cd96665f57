"""The tasks of a suite with its own settings for them, and the data that they read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg_bench import resources
from sg_bench.config import Split, key_of, merged
from sg_bench.errors import UsageError, did_you_mean
from sg_bench.suite.settings import Corpus, Suite
from sg_bench.tasks import Task, is_path, parse_reference, read_task, validated


def suite_tasks(suite: Suite) -> list[Task]:
    """Return the suite's tasks with its settings of fine-tuning and splits.

    Raises:
        UsageError: a task or one of its settings does not exist.
    """
    folder = Path(suite.folder) if suite.folder else None
    everywhere = {"precision": suite.precision} if suite.precision else {}
    tasks = [_tuned(reference, folder, merged(everywhere, suite.fine_tuning)) for reference in suite.tasks]
    for name in suite.splits:
        if name not in {task.name for task in tasks}:
            hint = did_you_mean(name, {task.name for task in tasks})
            raise UsageError(f"splits: the suite has no task '{name}'", hint=hint)
    return [_split(task, suite.splits.get(task.name)) for task in tasks]


def corpus_task(suite: Suite, corpus: Corpus) -> Task:
    """Return the task that a corpus takes its patients from: the suite's of that label or name, else the built-in card.

    Raises:
        UsageError: there is no such task.
    """
    tasks = suite_tasks(suite)
    by_name = {task.name: task for task in reversed(tasks)}
    known = by_name | {task.label: task for task in tasks}
    if corpus.task in known:
        return known[corpus.task]
    card = parse_reference(corpus.task)[0]
    if is_path(card) or card in resources.task_cards():
        return read_task(corpus.task, Path(suite.folder) if suite.folder else None)
    hint = did_you_mean(corpus.task, {*known, *resources.task_cards()})
    raise UsageError(f"corpus of task '{corpus.task}': the suite has no such task", hint=hint)


def data_sources(suite: Suite) -> dict[str, str]:
    """Return the source of every data set that a suite may read, by the data's name."""
    tasks = suite_tasks(suite)
    tasks += [corpus_task(suite, corpus) for corpus in suite.corpora.values() if corpus.task]
    sources = {corpus.name: corpus.source for corpus in suite.corpora.values() if corpus.source}
    splits = [task.split for task in tasks] + [corpus.split for corpus in suite.corpora.values() if corpus.split]
    sources |= {split.outside.data: split.outside.source for split in splits if split.outside}
    return sources | {task.data.name: task.data.source for task in tasks}


def suite_digest(suite: Suite) -> str:
    """Return the SHA-256 (64 hex digits) of all settings of a suite, with its claims, wherever its files are.

    A card of the suite's own counts by its content, a built-in task by its name.
    """
    folder = Path(suite.folder)
    cards = [read_task(task, folder) if is_path(parse_reference(task)[0]) else task for task in suite.tasks]
    return key_of({**suite.model_dump(mode="json"), "tasks": cards})


def claims_digest(suite: Suite) -> str:
    """Return the SHA-256 (64 hex digits) of a suite's claims alone."""
    return key_of(suite.claims)


def _tuned(reference: str, folder: Path | None, fine_tuning: Mapping[str, Any]) -> Task:
    """Return a task with its card's training overridden by the suite's settings, and those by its own `steps`."""
    task = read_task(reference, folder)
    chosen = {key: value for key, value in parse_reference(reference)[1].items() if key == "steps"}
    training = merged(task.training.model_dump(), dict(fine_tuning), chosen)
    return validated(Task, task.model_dump() | {"training": training}, f"fine_tuning of the suite, task '{task.label}'")


def _split(task: Task, given: dict[str, Any] | None) -> Task:
    if given is None:
        return task
    return task.model_copy(update={"split": validated(Split, given, f"splits of the suite, task '{task.label}'")})
