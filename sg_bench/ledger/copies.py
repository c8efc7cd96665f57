"""The records of a workspace on other storage: copied to this node before they are read, and stored after.

A record is stored after its predictions and tables, and only if no other node has stored one before. The copy of a
record has the time of the stored one, by which a changed one is noticed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sg_bench.config import canonical_json
from sg_bench.digests import npz_problem, unsealed
from sg_bench.ledger.records import DamagedRecordError, NewerRecordError, every_table, read_record
from sg_bench.ledger.schema import SCHEMA, Record, schema_of
from sg_bench.ledger.tables import is_intact, table_path
from sg_bench.workspace import (
    DAMAGED,
    DamagedCopyError,
    ObjectState,
    Remote,
    Workspace,
    in_parallel,
    is_copy,
    mark_copy,
    write_atomic,
)

CELLS: Final = "cells"


def pull_records(workspace: Workspace) -> list[str]:
    """Copy all records and tables that this node lacks; return the names of stored records that are damaged."""
    remote = workspace.remote
    if remote is None:
        return []
    remote.refresh()
    listing = remote.listing(CELLS)
    folder = workspace.path(CELLS)
    lacking = [name for name in listing if name.endswith(".parquet") and not (folder / name).is_file()]
    in_parallel(lambda name: _pull_table(remote, folder / name), lacking)
    changed = [name for name in listing if name.endswith(".json") and not is_copy(folder / name, listing[name])]
    good = in_parallel(lambda name: _pull_record(remote, folder / name, listing[name]), changed)
    return [name for name, whole in zip(changed, good, strict=True) if not whole]


def repair_records(workspace: Workspace, damaged: Iterable[str]) -> list[str]:
    """Store what this node has and the storage lacks, or has damaged, and set the rest aside; return a line for each.

    Args:
        workspace: of the records.
        damaged: names of stored records, as `pull_records` returns them.
    """
    remote = workspace.remote
    if remote is None:
        return []
    folder, lines, damaged = workspace.path(CELLS), [], list(damaged)
    for name in damaged:
        moved = _set_aside(remote, name)
        lines.append(f"Set aside as {remote.shown}/{moved}: it is damaged")
    listing = remote.listing(CELLS)
    for path in sorted(folder.glob("*.json")):
        key = path.name.partition(".")[0]
        if path.name in listing:
            continue
        try:
            record = read_record(path, key)
        except (DamagedRecordError, NewerRecordError, FileNotFoundError):
            continue
        push_record(workspace, path.name, record, replace=False)
    return lines


def pull_record(workspace: Workspace, key: str) -> None:
    """Copy the stored record of a cell, if there is a newer one; a damaged one is set aside."""
    remote, name = workspace.remote, f"{key}.json"
    if remote is None:
        return
    state = remote.objects.state(f"{CELLS}/{name}")
    if state is None or is_copy(workspace.path(CELLS, name), state):
        return
    if not _pull_record(remote, workspace.path(CELLS, name), state):
        remote.refresh()
        _set_aside(remote, name)


def push_record(workspace: Workspace, name: str, record: Record, *, replace: bool) -> bool:
    """Store a record of this node, after its predictions and tables.

    Args:
        workspace: of the record.
        name: of its file.
        record: its content.
        replace: an earlier one; else return False, and store nothing, if another node has stored one meanwhile.

    Returns:
        Whether it is stored.
    """
    remote = workspace.remote
    if remote is None:
        return True
    push_predictions(workspace, record)
    folder, stored = workspace.path(CELLS), remote.listing(CELLS)
    tables = [table_path(folder, record["key"], table, found).name for table, found in every_table(record)]
    for each in tables:
        if each not in stored and (folder / each).is_file():
            remote.push(CELLS, each)
    if replace:
        remote.push(CELLS, name)
    elif not remote.objects.create(f"{CELLS}/{name}", (folder / name).read_bytes()):
        return False
    state = remote.objects.state(f"{CELLS}/{name}")
    if state is not None:
        stored[name] = state
        mark_copy(folder / name, state)
    return True


def stored_predictions(record: Record) -> str:
    """Return the name under which the predictions of a record are stored; their digest keeps those of nodes apart."""
    return f"{record['key']}.{record['outputs']['predictions'].removeprefix('file:')[:12]}.npz"


def push_predictions(workspace: Workspace, record: Record) -> None:
    """Store the predictions of a record, if this node has them and the storage has not."""
    remote = workspace.remote
    if remote is None or not record.get("outputs", {}).get("predictions"):
        return
    name, stored = f"{record['key']}.npz", stored_predictions(record)
    if workspace.path("predictions", name).is_file() and stored not in remote.listing("predictions"):
        remote.push("predictions", name, to=stored)
        _note_predictions(workspace, record)


def pull_predictions(workspace: Workspace, record: Record) -> None:
    """Copy the predictions of a record to this node, unless it has them."""
    remote = workspace.remote
    if remote is None or not record.get("outputs", {}).get("predictions"):
        return
    path, note = workspace.path("predictions", f"{record['key']}.npz"), _noted_predictions(workspace, record)
    if path.is_file() and note.is_file() and note.read_text() == stored_predictions(record):
        return
    if remote.pull("predictions", path.name, of=stored_predictions(record)):
        _note_predictions(workspace, record)


def pull_everything(workspace: Workspace) -> Path:
    """Copy all records, predictions and initialisations to this node, and return the folder that they are in."""
    remote = workspace.remote
    if remote is not None:
        pull_records(workspace)
        paths = [path for path in workspace.path(CELLS).glob("*.json") if path.stem.isalnum()]
        for path in paths:
            with suppress(DamagedRecordError, NewerRecordError):
                pull_predictions(workspace, read_record(path, path.stem))
        for name in remote.listing("initialisations"):
            with suppress(DamagedCopyError):
                remote.fetch("initialisations", name.removesuffix(".json"))
    return workspace.root


def predictions_problem(workspace: Workspace, record: Record) -> str:
    """Return "missing", "cut off" or "" for the predictions of a record; where they are stored elsewhere, by a list."""
    if workspace.remote is None:
        return npz_problem(workspace.path("predictions", f"{record['key']}.npz"))
    return "" if stored_predictions(record) in workspace.remote.listing("predictions") else "missing"


def _noted_predictions(workspace: Workspace, record: Record) -> Path:
    return workspace.root / "copies" / "predictions" / str(record["key"])


def _note_predictions(workspace: Workspace, record: Record) -> None:
    write_atomic(_noted_predictions(workspace, record), stored_predictions(record))


def _set_aside(remote: Remote, name: str) -> str:
    """Move a stored record that is damaged, or has a damaged table, and that table; return the record's new name."""
    damaged = f"{DAMAGED}/{CELLS}/{uuid.uuid4().hex[:8]}"
    folder, key = remote.root / CELLS, name.partition(".")[0]
    tables = [each for each in remote.listing(CELLS) if each.startswith(f"{key}.") and each.endswith(".parquet")]
    for each in [name, *(each for each in tables if not (folder / each).is_file())]:
        with suppress(FileNotFoundError):
            remote.objects.move(f"{CELLS}/{each}", f"{damaged}/{each}")
    remote.refresh()
    return f"{damaged}/{name}"


def _pull_table(remote: Remote, path: Path) -> bool:
    """Copy a table; return whether it is there and whole."""
    if not remote.pull(CELLS, path.name):
        return False
    if not is_intact(path):
        path.unlink()
        return False
    return True


def _pull_record(remote: Remote, path: Path, state: ObjectState) -> bool:
    """Copy a record and the tables that are not here; return False, and change nothing here, if any is damaged."""
    try:
        raw = remote.objects.read(f"{CELLS}/{path.name}")
    except FileNotFoundError:
        return True  # another node has set it aside
    try:
        record = unsealed(raw)
        canonical_json(record)
        tables = every_table(record) if (schema_of(record) or 0) <= SCHEMA else ()
        files = [table_path(path.parent, record["key"], name, found) for name, found in tables]
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    if record.get("key") != path.name.partition(".")[0]:
        return False
    if not all(file.is_file() or _pull_table(remote, file) for file in files):
        return False
    write_atomic(path, raw)
    mark_copy(path, state)
    return True
