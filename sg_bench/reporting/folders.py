"""Reads the records of a folder as evidence: of a workspace, or of a results folder that a report has written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sg_bench.config import key_of
from sg_bench.errors import UsageError
from sg_bench.ledger import DamagedRecordError, NewerRecordError, Record, log_skipped, read_record
from sg_bench.reporting.evidence import Evidence
from sg_bench.workspace import Workspace


@dataclass(frozen=True)
class FoundCell:
    """A cell known from its record alone."""

    key: str
    method: str
    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    missing: str | None = None


def read_evidence(folder: Path) -> Evidence:
    """Return all records of a workspace or results folder as evidence, failed ones included.

    Damaged records are skipped, in one line each.

    Labels are those of tables/scores.csv where there is one (a results folder); elsewhere the registered names,
    followed by some digits of the recipe's key where one name stands for several recipes.

    Raises:
        UsageError: the folder holds no records.
    """
    cells = Workspace(folder).path("cells")
    paths = sorted(path for path in cells.glob("*.json") if path.stem.isalnum())
    readable = {path.stem: _readable(path) for path in paths}
    records = {key: record for key, record in readable.items() if record}
    if not records:
        raise UsageError(f"{folder}: no cells here", hint="Name a workspace or a results folder: both hold cells/")
    labels = _named_by_recipe(records.values()) | _named_by_report(folder / "tables" / "scores.csv")
    found = [
        FoundCell(key, *labels[key], record["recipe"]["pretraining_seed"], record["recipe"]["fine_tuning_seed"])
        for key, record in records.items()
    ]
    found.sort(key=lambda cell: (cell.method, cell.task, cell.pretraining_seed, cell.fine_tuning_seed, cell.key))
    return Evidence(found, records, cells)


def _readable(path: Path) -> Record | None:
    try:
        return read_record(path, path.stem)
    except (DamagedRecordError, NewerRecordError) as error:
        log_skipped(error)
        return None


def _named_by_report(path: Path) -> dict[str, tuple[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {line["key"]: (line["method"], line["task"]) for line in csv.DictReader(file)}


def _named_by_recipe(records: Iterable[Record]) -> dict[str, tuple[str, str]]:
    """Return (method, task) of each key."""
    parts = {record["key"]: (_method_part(record["recipe"]), _task_part(record["recipe"])) for record in records}
    methods = _distinct(method for method, _ in parts.values())
    tasks = _distinct(task for _, task in parts.values())
    return {key: (methods[method.digest], tasks[task.digest]) for key, (method, task) in parts.items()}


class _Part(NamedTuple):
    name: str
    digest: str
    dimension: int
    """A method is pretrained once more for 2D tasks, which does not count as a second recipe of its name."""


def _distinct(parts: Iterable[_Part]) -> dict[str, str]:
    """Return a label for each digest: the name, with six of its digits where several digests share the name."""
    known = set(parts)
    count = Counter((part.name, part.dimension) for part in known)
    alone = {name for name, _ in count} - {name for (name, _), digests in count.items() if digests > 1}
    return {part.digest: part.name if part.name in alone else f"{part.name}#{part.digest[:6]}" for part in known}


def _method_part(recipe: Mapping[str, Any]) -> _Part:
    method = {name: value for name, value in recipe["initialisation"].items() if name != "seed"}
    return _Part(method["method"], key_of(method), method.get("config", {}).get("dimension", 3))


def _task_part(recipe: Mapping[str, Any]) -> _Part:
    return _Part(recipe["task"]["name"], key_of([recipe["task"], recipe["store"]]), 3)
