"""What is done: one file a cell, written at once or not at all, never lost, never counted twice.

A record's name is its cell's key, so computing a cell again replaces it by the same; if the two differ, the first
stays and the second is kept beside it as a conflict. Ledgers of several people or machines merge by the same rule.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from sg_bench.errors import FailureKind, SgBenchError, UsageError
from sg_bench.recipes import canonical_json, key_of
from sg_bench.workspace import Workspace, file_digest, read_json, write_json

SCHEMA = 1
Record = dict[str, Any]
Outcome = Literal["added", "known", "conflict"]
KEY = r"[0-9a-f]{64}"
WEIGHTS = ("encoder.safetensors", "decoder.safetensors")
"""Files that an initialisation's digest is taken over, in this order; the second may be absent."""


class Ledger:
    """The records of a workspace, by key."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def get(self, key: str) -> Record | None:
        """Return the record of `key`, or None.

        Raises:
            SgBenchError: the file is damaged, or from a newer sg-bench.
        """
        try:
            return read_record(self.workspace.path("cells", f"{key}.json"), key)
        except FileNotFoundError:
            return None

    def records(self) -> Iterator[Record]:
        """Yield the records of all cells, done and failed, by key; conflicts are none of them."""
        for path in sorted(self.workspace.path("cells").glob("*.json")):
            record = self.get(path.stem) if path.stem.isalnum() else None
            if record:
                yield record

    def finished(self) -> Iterator[Record]:
        """Yield the records of all cells that were computed to the end, whichever suite asked for them."""
        return (record for record in self.records() if record["status"] == "done")

    def done(self, key: str) -> bool:
        """Return whether `key` was computed to the end."""
        record = self.get(key)
        return record is not None and record["status"] == "done"

    def put(self, record: Record) -> Record:
        """Store a record and return the one that counts: an earlier finished one stays."""
        record = {"schema": SCHEMA, **record}
        key = record["key"]
        with self.workspace.lock("ledger"):  # another run may finish what failed here
            earlier = self.get(key)
            if earlier and earlier["status"] == "done":
                if record["status"] == "done" and not _agree(record, earlier):
                    name = f"{key}.conflict-{key_of(_evidence(record))[:12]}.json"
                    write_json(self.workspace.path("cells", name), record)
                return earlier
            write_json(self.workspace.path("cells", f"{key}.json"), record)
            return record

    def rescore(self, key: str, metrics: dict[str, Any], cases: list[dict[str, Any]], version: str) -> Record:
        """Give a finished cell the metrics and rows that its own predictions have now, and return its record.

        What stood there stays in the record: `rescored` lists it, the oldest first, each with the version of sg-bench
        that replaced it. By any of these outcomes the record agrees with others of its key, so a ledger that still
        holds the old numbers is in no conflict with this one.

        Raises:
            UsageError: the cell is not finished.
        """
        with self.workspace.lock("ledger"):
            record = self.get(key)
            if record is None or record["status"] != "done":
                raise UsageError(f"cell {key[:12]} is not finished", hint="Only finished cells are scored again")
            before = {"metrics": record["metrics"], "cases": record["cases"]}
            if before != {"metrics": metrics, "cases": cases}:
                earlier = [*record.get("rescored", []), {"version": version, **before}]
                record = {**record, "metrics": metrics, "cases": cases, "rescored": earlier}
                write_json(self.workspace.path("cells", f"{key}.json"), record)
            return record

    def take(self, record: Record) -> Outcome:
        """Store a record that was computed elsewhere and return what became of it; a failure replaces nothing."""
        earlier = self.get(record["key"])
        if record["status"] != "done":
            if not earlier:
                self.put(record)
            return "known" if earlier else "added"
        if not _agree(self.put(record), record):
            return "conflict"
        return "known" if earlier and earlier["status"] == "done" else "added"

    def conflicts(self) -> dict[str, list[str]]:
        """Return the names of records that were computed again with another outcome, by the cell's key."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.workspace.path("cells").glob("*.conflict-*.json")):
            found.setdefault(path.name.partition(".")[0], []).append(path.name)
        return found


def mixed(records: Mapping[str, Record]) -> list[str]:
    """Return "store 1a2b3c..." for each store or initialisation that some records knew with another content.

    It was computed anew between them, and came out differently: files changed that kept their names and sizes, say.
    """
    digests: dict[str, set[str]] = {}
    for record in records.values():
        for what in ("store", "initialisation"):
            digest = record.get("outputs", {}).get(what)
            if digest:
                digests.setdefault(f"{what} {key_of(record['recipe'][what])[:12]}", set()).add(digest)
    return sorted(name for name, found in digests.items() if len(found) > 1)


def read_record(path: Path, key: str) -> Record:
    """Return the record of `key` that `path` holds, in today's schema.

    Raises:
        FileNotFoundError: there is no such file.
        SgBenchError: the file is damaged, or from a newer sg-bench.
    """
    try:
        record = read_json(path)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    schema = _schema(record)
    if schema is None:
        raise _damaged(path, "it holds no record")
    if schema > SCHEMA:
        raise SgBenchError(f"{path} has schema {schema}, known up to {SCHEMA}", hint="Update sg-bench")
    if record.get("key") != key:
        raise _damaged(path, f"it is the record of {record.get('key')}")
    for older in range(schema, SCHEMA):
        record = {**MIGRATIONS[older](record), "schema": older + 1}
    return dict(record)


def _schema(record: Any) -> int | None:
    """Return a record's schema, or None for what is no record; the first shape did not say its number."""
    if not isinstance(record, dict):
        return None
    first = {"key", "status"} <= record.keys() and isinstance(record.get("recipe"), dict)
    schema = record.get("schema", 0 if first else None)
    return schema if isinstance(schema, int) else None


def _from_0(record: Record) -> Record:
    """Schema 0 -> 1: name the two metrics, say which failures are whose, and gather what a run took under `ran`.

    No release wrote schema 0. It is the shape of first drafts: without `schema`, `headline`, `parity`, `counts`,
    `loaded` and `outputs`, with `seconds` of wall time, and with an error as one line of text.
    """
    record = dict(record)
    seconds, error = record.pop("seconds", None), record.get("error")
    task = record["recipe"].get("task", {})
    if isinstance(error, str):  # whose fault it was is not known: infrastructure is computed again
        error = {"kind": "infrastructure", "type": "", "message": error, "traceback": ""}
    record |= {"error": error, "ran": {} if seconds is None else {"wall_seconds": seconds}}
    if record["status"] == "done":
        record |= {"headline": task.get("headline"), "parity": task.get("parity")}
        record |= {"counts": {}, "loaded": "", "outputs": {}}
    return record


MIGRATIONS: dict[int, Callable[[Record], Record]] = {0: _from_0}
"""How a record of each older schema becomes one of the next; none is ever removed."""


@dataclass
class Merged:
    """What became of merging."""

    added: int = 0
    """Records that the ledger lacked, or had only as failed."""
    known: int = 0
    """Records that it had already, with the same outcome, or finished where these had failed."""
    predictions: int = 0
    """Files that were copied."""
    initialisations: int = 0
    """Folders that were copied."""
    conflicts: list[str] = field(default_factory=list)
    """What has two outcomes under one key: the first stays, a record's second is kept beside it."""
    damaged: list[str] = field(default_factory=list)
    """What was skipped: each with its path and what is wrong."""


def merge(sources: Sequence[Path], into: Workspace) -> Merged:
    """Bring the records of workspaces and results folders, and what stands behind them, into one workspace.

    What is there counts before what comes, and what comes first before what comes later. Merging again changes
    nothing. Predictions and initialisations are copied where they are missing; only workspaces have them.

    Raises:
        UsageError: a source holds no cells, or is the workspace itself.
    """
    for source in sources:
        if not (source / "cells").is_dir():
            raise UsageError(f"{source}: no cells here", hint="Name workspaces or results folders: both hold cells/")
        if source.resolve() == into.root:
            raise UsageError(f"{source} is the workspace to merge into", hint="Leave it out")
    merged = Merged()
    for source in sources:
        _merge_cells(source, into, merged)
        _merge_initialisations(source / "initialisations", into, merged)
    return merged


def _merge_cells(source: Path, into: Workspace, merged: Merged) -> None:
    ledger = Ledger(into)
    paths = sorted((source / "cells").glob("*.json"), key=lambda path: (".conflict-" in path.name, path.name))
    for path in paths:
        key = path.name.partition(".")[0]
        if not re.fullmatch(KEY, key):
            continue
        try:
            record = _checked(read_record(path, key), path)
            outcome = ledger.take(record)
            merged.added += outcome == "added"
            merged.known += outcome == "known"
            if outcome == "conflict":
                merged.conflicts.append(f"{path}: another outcome of cells/{key}.json")
            _merge_predictions(source, ledger, record, merged)
        except (SgBenchError, OSError) as error:
            merged.damaged.append(error.problem if isinstance(error, SgBenchError) else f"{path}: {error.strerror}")


def _checked(record: Record, path: Path) -> Record:
    """Return a record that came from elsewhere.

    Raises:
        SgBenchError: it is not what a ledger may hold.
    """
    try:
        canonical_json(record)
        recipe = key_of(record["recipe"])
    except (KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if recipe != record["key"]:
        raise _damaged(path, f"its recipe has the key {recipe}")
    if not (_is_finished(record) or _is_failure(record)):
        raise _damaged(path, "it holds no finished cell and no failure")
    return record


def _is_finished(record: Record) -> bool:
    metrics, outputs = record.get("metrics"), record.get("outputs")
    if record.get("status") != "done" or not isinstance(metrics, dict) or not isinstance(outputs, dict):
        return False
    numbers = all(score is None or isinstance(score, (int, float)) for score in metrics.values())
    return numbers and isinstance(record.get("headline"), str) and isinstance(record.get("cases"), list)


def _is_failure(record: Record) -> bool:
    error = record.get("error")
    return record.get("status") == "failed" and isinstance(error, dict) and error.get("kind") in get_args(FailureKind)


def _merge_predictions(source: Path, ledger: Ledger, record: Record, merged: Merged) -> None:
    name = f"{record['key']}.npz"
    theirs, ours = source / "predictions" / name, ledger.workspace.path("predictions", name)
    if record["status"] != "done" or ours.exists() or not theirs.is_file():
        return
    if not _agree(ledger.get(record["key"]) or record, record):
        return
    digest = record["outputs"].get("predictions")
    if digest and file_digest(theirs) != digest:
        raise _damaged(theirs, "its content is not what the record says")
    with _appearing(ours) as unfinished:
        shutil.copyfile(theirs, unfinished)
    merged.predictions += 1


def _merge_initialisations(rooms: Path, into: Workspace, merged: Merged) -> None:
    complete = (path.parent for path in rooms.glob("*/record.json"))
    for folder in sorted(path for path in complete if re.fullmatch(KEY, path.name)):
        try:
            digest, ours = _weights(folder), into.path("initialisations", folder.name)
            with into.lock(folder.name):
                if not (ours / "record.json").is_file():
                    with _appearing(ours) as unfinished:
                        shutil.copytree(folder, unfinished)
                    merged.initialisations += 1
                elif read_json(ours / "record.json")["outputs"]["initialisation"] != digest:
                    merged.conflicts.append(f"{folder}: other weights than in initialisations/{folder.name}")
        except (SgBenchError, OSError) as error:
            merged.damaged.append(error.problem if isinstance(error, SgBenchError) else f"{folder}: {error.strerror}")


def _weights(folder: Path) -> str:
    """Return the digest of an initialisation.

    Raises:
        SgBenchError: its record or its weights are not what they were.
    """
    total = hashlib.sha256()
    for path in (folder / name for name in WEIGHTS):
        if path.is_file():
            total.update(f"{path.name} {file_digest(path)}\n".encode())
    try:
        record = read_json(folder / "record.json")
        key, said = key_of(record["recipe"]), record["outputs"]["initialisation"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / "record.json", str(error)) from error
    if key != folder.name or said != total.hexdigest():
        raise _damaged(folder, "its content is not what its record says")
    return total.hexdigest()


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; it then becomes `path` in one step, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".merging-") as folder:
        unfinished = Path(folder) / path.name
        yield unfinished
        if path.is_dir():
            shutil.rmtree(path)
        unfinished.rename(path)


def _damaged(path: Path, what: str) -> SgBenchError:
    return SgBenchError(f"{path} is damaged: {what}", hint="Delete it; the cell is computed again")


def _agree(one: Record, other: Record) -> bool:
    """Return whether two records have an outcome in common: as they stand, or as one stood before it was rescored."""
    ours, theirs = ({key_of(_evidence(each)) for each in _outcomes(record)} for record in (one, other))
    return not ours.isdisjoint(theirs)


def _outcomes(record: Record) -> Iterator[Record]:
    yield record
    yield from ({**record, **earlier} for earlier in record.get("rescored", []))


def _evidence(record: Record) -> dict[str, Any]:
    """Return the part of a record that must come out the same whenever its key is the same."""
    return {name: record.get(name) for name in ("key", "metrics", "cases")}
