"""The cells of a suite's report, so that a narrower selection, absent data or another workspace never shrinks it.

The report in `--out` covers the whole suite, and what was added to it with --methods, --tasks and --seeds, as far as
the ledger has it. A selection has a report of its own in `views/` of that folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_bench.cli.selection import Selection, chosen_methods, chosen_tasks
from sg_bench.config import key_of
from sg_bench.errors import UsageError
from sg_bench.ledger import Record
from sg_bench.planning import Plan, PlannedCell, plan
from sg_bench.suite import Suite, suite_digest, suite_tasks
from sg_bench.tasks import is_path, parse_reference, read_task
from sg_bench.workspace import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sg_bench.reporting import Cell

FILE = "report.json"
"""In a report's folder: its suite, and what was added to that by options."""
AXES = ("methods", "tasks", "fine_tuning_seeds", "pretraining_seeds")


@dataclass(frozen=True)
class Scope:
    """The cells of a report, with their records."""

    suite: Suite
    """The whole suite, with what was added to it."""
    plan: Plan
    cells: list[Cell]
    records: dict[str, Record]
    lost: int
    """Finished cells of the report in the folder that the ledger lacks."""


def check_folder(selection: Selection) -> None:
    """Refuse a folder that holds the report of another suite.

    Raises:
        UsageError: names the suite.
    """
    other = _remembered(selection.out).get("suite", selection.suite.name)
    if other != selection.suite.name:
        hint = "Name another folder with --out"
        raise UsageError(f"--out {selection.out} holds the report of the suite '{other}'", hint=hint)


def report_scope(selection: Selection) -> Scope:
    """Return what the report in `--out` covers.

    Cells beyond the suite file are covered where the ledger has them. A cell whose data are not given now is taken from
    the report that is there, if that was made with the same settings.

    Raises:
        UsageError: the whole suite cannot be planned.
    """
    before = _remembered(selection.out)
    suite = _widened(selection, before)
    planned = selection.plan if suite == selection.plan.suite else plan(suite, selection.roots, selection.workspace)
    ledger = selection.ledger
    cells: list[Cell] = list(planned.cells)
    if any(cell.missing for cell in planned.cells):
        cells = _with_reported(cells, selection.out, _agreeing(_digests(suite), before.get("digests", {})))
    found = {cell.key: ledger.get(cell.key) for cell in cells if cell.key}
    records = {key: record for key, record in found.items() if record}
    own = _own(selection.suite)
    cells = [cell for cell in cells if cell.key in records or own(cell)]
    return Scope(suite, planned, cells, records, _lost(cells, records, selection.out))


def remember(selection: Selection, suite: Suite) -> None:
    """Write which suite the report in the folder is of, and what was added to it."""
    own = selection.suite
    added = {axis: _beyond(getattr(own, axis), getattr(suite, axis)) for axis in AXES}
    added["methods"] = [method.title for method in added["methods"]]
    added["tasks"] = [_relative(task, own, selection.out) for task in added["tasks"]]
    write_json(selection.out / FILE, {"suite": own.name, "added": added, "digests": _digests(suite)})


def _remembered(out: Path) -> dict[str, Any]:
    try:
        found = read_json(out / FILE)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _widened(selection: Selection, before: dict[str, Any]) -> Suite:
    """Return the suite with what this selection adds to it, and what earlier ones added."""
    suite, chosen, added = selection.suite, selection.plan.suite, before.get("added", {})
    changes = {axis: [*getattr(suite, axis), *_beyond(getattr(suite, axis), getattr(chosen, axis))] for axis in AXES}
    for name in added.get("methods", []):
        changes["methods"] += _beyond(changes["methods"], _known(chosen_methods, suite, name))
    for name in added.get("tasks", []):
        path = str(selection.out / name) if is_path(parse_reference(name)[0]) else name
        changes["tasks"] += _beyond(changes["tasks"], _known(chosen_tasks, suite, path))
    for axis in ("fine_tuning_seeds", "pretraining_seeds"):
        changes[axis] += _beyond(changes[axis], added.get(axis, []))
    return suite.model_copy(update=changes)


def _known(choose: Any, suite: Suite, name: str) -> list[Any]:
    """Return what an option of an earlier run named; nothing if that no longer exists."""
    try:
        found: list[Any] = choose(suite, name)
    except UsageError:
        return []
    return found


def _beyond(own: Iterable[Any], more: Iterable[Any]) -> list[Any]:
    """Return the entries that are only in `more`; methods are compared by their labels."""
    known = {getattr(each, "title", each) for each in own}
    return [each for each in more if getattr(each, "title", each) not in known]


def _own(suite: Suite) -> Any:
    """Return a predicate: whether a cell is part of the suite file."""
    methods, tasks = {method.title for method in suite.methods}, {task.label for task in suite_tasks(suite)}
    first, second = set(suite.pretraining_seeds), set(suite.fine_tuning_seeds)

    def own(cell: PlannedCell) -> bool:
        named = cell.method in methods and cell.task in tasks
        return named and cell.pretraining_seed in first and cell.fine_tuning_seed in second

    return own


def _with_reported(cells: Sequence[Cell], out: Path, same: set[str]) -> list[Cell]:
    """Return `cells`, where data are missing those of the report in the folder if method and task are the `same`."""
    from sg_bench.reporting.folders import read_evidence

    try:
        reported = {_place(cell): cell for cell in read_evidence(out).cells}
    except UsageError:  # there is no report yet
        return list(cells)
    return [
        reported.get(_place(cell), cell) if cell.missing and {cell.method, cell.task} <= same else cell
        for cell in cells
    ]


def _place(cell: Cell) -> tuple[str, str, int, int]:
    return cell.method, cell.task, cell.pretraining_seed, cell.fine_tuning_seed


def _lost(cells: Iterable[Cell], records: dict[str, Record], out: Path) -> int:
    absent = [cell.key for cell in cells if cell.key and cell.key not in records]
    return sum(_is_done(out / "cells" / f"{key}.json") for key in absent)


def _is_done(path: Path) -> bool:
    """Return whether a report's copy of a record is one of a finished cell; a damaged copy is of nothing."""
    try:
        return bool(read_json(path)["status"] == "done")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _digests(suite: Suite) -> dict[str, str]:
    """Return the SHA-256 (64 hex digits) of each method's and each task's settings, and of all other settings ("")."""
    text = {"title": "", "notes": [], "checks": [], "claims": [], "backend": "local"}
    axes: dict[str, Any] = {**{axis: [] for axis in AXES}, "blocks": [], "splits": {}}
    rest = suite.model_copy(update={**text, **axes})
    methods = {method.title: key_of(method) for method in suite.methods}
    return methods | {task.label: key_of(task.key_content()) for task in suite_tasks(suite)} | {"": suite_digest(rest)}


def _agreeing(now: dict[str, str], before: dict[str, str]) -> set[str]:
    """Return the methods and tasks whose settings are those of the report; none if other settings have changed."""
    same = {name for name, digest in now.items() if before.get(name) == digest}
    return same if "" in same else set()


def _relative(task: str, suite: Suite, out: Path) -> str:
    """Return a task as later commands find it, without absolute paths.

    A variant of a card of the suite is named as by `--tasks`, and another card by its file, relative to the report.
    """
    card = parse_reference(task)[0]
    if card in {parse_reference(each)[0] for each in suite.tasks}:
        return read_task(task, Path(suite.folder)).name + task.removeprefix(card)
    return os.path.relpath(task, out.resolve()) if is_path(card) else task
