"""What a workspace could do without: results that nothing needs, unfinished parts, damaged files, old logs.

Listing changes nothing. `delete` renames to `trash/` first, so that an interrupted deletion leaves no half of a result.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg_bench.config import key_of
from sg_bench.ledger import Ledger, Record
from sg_bench.planning.plans import FOLDERS, Plan
from sg_bench.planning.runs import is_alive, read_runs
from sg_bench.workspace import DAMAGED, OLD, PARTIAL, LockedElsewhere, Namespace, Workspace

TRASH = "trash"
"""Folder of the workspace for what is being deleted."""
RETRIED = "retried"
"""Folder of the workspace for failed records that `retry` has set aside."""
TEMPORARY_SECONDS = 3600.0
"""A temporary file that was not written to for so long is that of a process that was killed."""
KEPT_RUNS = 100
"""Newest runs whose files are kept: reports compare what was predicted with what it took."""


@dataclass(frozen=True)
class Leftover:
    """A file or folder that could be deleted."""

    path: Path
    bytes: int
    why: str
    key: str = ""
    """Of the result whose lock guards it."""


def leftovers(plans: Iterable[Plan], workspace: Workspace) -> list[Leftover]:
    """Return what neither the plans, nor a finished cell, nor a run that is alive needs, with the reason."""
    records = {record["key"]: record for record in Ledger(workspace).records()}
    planned = {key for plan in plans for key in plan.jobs}
    alive = [run for run in read_runs(workspace) if is_alive(workspace, run)]
    used = {key for run in alive for key in run.keys}
    done = {key for key, record in records.items() if record["status"] == "done"}
    needed = planned | used | done | {key for key in done for key in _inputs(records[key])}
    found = [*_results(workspace, needed), *_parts(workspace, needed, done, used), *_logs(workspace, records, used)]
    found += _whole(workspace, TRASH, "an interrupted deletion")
    found += _whole(workspace, DAMAGED, "set aside as damaged")
    found += _whole(workspace, RETRIED, "a failed record that was set aside to be tried again")
    if not alive:
        found += _whole(workspace, "ray", "files of Ray, and no run is alive")
        found += _temporary(workspace)
    return sorted(found, key=lambda each: -each.bytes)


def delete(workspace: Workspace, leftover: Leftover) -> bool:
    """Delete a file or folder; return False, and leave it, if a process holds its lock or it is gone."""
    target = workspace.root / TRASH / uuid.uuid4().hex
    try:
        with workspace.lock(leftover.key or f"{TRASH}.{leftover.path.name}"[:120], wait=False):
            target.parent.mkdir(parents=True, exist_ok=True)
            if leftover.path.parent == target.parent:
                target = leftover.path
            else:
                leftover.path.rename(target)
    except (LockedElsewhere, FileNotFoundError):
        return False
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    return True


def _inputs(record: Record) -> Iterator[str]:
    """Yield the keys of all results that a cell was computed from."""
    yield from _keys_in(record.get("recipe"))


def _keys_in(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        if content.get("kind") in FOLDERS:
            yield key_of(content)
        for each in content.values():
            yield from _keys_in(each)


def _results(workspace: Workspace, needed: set[str]) -> Iterator[Leftover]:
    """Yield finished results and predictions that nothing needs, and earlier ones that a crash left."""
    places: tuple[Namespace, ...] = (*FOLDERS.values(), "features", "predictions")
    for namespace in places:
        for path in _entries(workspace.path(namespace)):
            key = path.name.partition(".")[0]
            if path.name.endswith(OLD) and path.with_name(key).exists():
                yield Leftover(path, _size(path), "an earlier result that was replaced", key)
            elif _is_result(path, namespace, key) and len(key) == 64 and key not in needed:
                yield Leftover(path, _size(path), "no cell of these suites, and no finished cell, needs it", key)


def _is_result(path: Path, namespace: Namespace, key: str) -> bool:
    """Return whether a path is a result's; features are named by the initialisation that they were computed with."""
    return path.suffix == ".npz" if namespace == "features" else path.name in (key, f"{key}.npz")


def _parts(workspace: Workspace, needed: set[str], done: set[str], used: set[str]) -> Iterator[Leftover]:
    """Yield unfinished results that no run would complete, and checkpoints of trainings that are done or not wanted."""
    for namespace in FOLDERS.values():
        for path in _entries(workspace.path(namespace)):
            key = path.name.removesuffix(PARTIAL)
            if path.name.endswith(PARTIAL) and key not in used:
                if path.with_name(key).exists():
                    yield Leftover(path, _size(path), "unfinished, and the result is there", key)
                elif key not in needed:
                    yield Leftover(path, _size(path), "unfinished, and no cell of these suites needs it", key)
    for path in _entries(workspace.path("progress")):
        key = path.name.partition(".")[0]
        if key not in used and (key in done or key not in needed):
            why = "a checkpoint of a cell that is done" if key in done else "a checkpoint that no suite needs"
            yield Leftover(path, _size(path), why, key)


def _logs(workspace: Workspace, records: Mapping[str, Record], used: set[str]) -> Iterator[Leftover]:
    """Yield logs of jobs that have not failed, and files of old runs."""
    for path in _entries(workspace.path("logs")):
        key = path.name.partition(".")[0]
        failed = key in records and records[key]["status"] == "failed"
        if len(key) != 64:
            if not used:
                yield Leftover(path, _size(path), "a log of Ray, and no run is alive")
        elif not failed and key not in used:
            yield Leftover(path, _size(path), "a log of a job that has not failed", key)
    runs = sorted(_entries(workspace.path("runs")))
    for path in runs[:-KEPT_RUNS]:
        yield Leftover(path, _size(path), f"an older run than the last {KEPT_RUNS}")


def _whole(workspace: Workspace, folder: str, why: str) -> Iterator[Leftover]:
    for path in _entries(workspace.root / folder):
        yield Leftover(path, _size(path), why)


def _temporary(workspace: Workspace) -> Iterator[Leftover]:
    """Yield temporary files of processes that were killed."""
    before = time.time() - TEMPORARY_SECONDS
    for folder in _entries(workspace.root):
        for path in folder.glob(".*") if folder.is_dir() else ():
            if path.is_file() and path.stat().st_mtime < before:
                yield Leftover(path, _size(path), "a temporary file of a process that was killed")


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, but for hidden files."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(each.lstat().st_size for each in files if each.is_symlink() or each.is_file())
