"""What is done: one file a cell, written at once or not at all, never lost, never counted twice.

A record's name is its cell's key, so computing a cell again replaces it by the same; if the two differ, the first
stays and the second is kept beside it as a conflict. Ledgers of several people or machines merge by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sg_bench.config import key_of
from sg_bench.errors import SgBenchError, UsageError
from sg_bench.ledger.schema import MIGRATIONS, SCHEMA, Record, schema_of
from sg_bench.workspace import Workspace, read_json, write_json

Outcome = Literal["added", "known", "conflict"]


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
                if record["status"] == "done" and not agree(record, earlier):
                    name = f"{key}.conflict-{key_of(evidence(record))[:12]}.json"
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
        if not agree(self.put(record), record):
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
        raise damaged(path, str(error)) from error
    schema = schema_of(record)
    if schema is None:
        raise damaged(path, "it holds no record")
    if schema > SCHEMA:
        raise SgBenchError(f"{path} has schema {schema}, known up to {SCHEMA}", hint="Update sg-bench")
    if record.get("key") != key:
        raise damaged(path, f"it is the record of {record.get('key')}")
    for older in range(schema, SCHEMA):
        record = {**MIGRATIONS[older](record), "schema": older + 1}
    return dict(record)


def damaged(path: Path, what: str) -> SgBenchError:
    """Return the error that a damaged file is."""
    return SgBenchError(f"{path} is damaged: {what}", hint="Delete it; the cell is computed again")


def agree(one: Record, other: Record) -> bool:
    """Return whether two records have an outcome in common: as they stand, or as one stood before it was rescored."""
    ours, theirs = ({key_of(evidence(each)) for each in _outcomes(record)} for record in (one, other))
    return not ours.isdisjoint(theirs)


def _outcomes(record: Record) -> Iterator[Record]:
    yield record
    yield from ({**record, **earlier} for earlier in record.get("rescored", []))


def evidence(record: Record) -> dict[str, Any]:
    """Return the part of a record that must come out the same whenever its key is the same."""
    return {name: record.get(name) for name in ("key", "metrics", "cases")}
