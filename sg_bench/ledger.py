"""What is done: one file a cell, written at once or not at all, never lost, never counted twice.

A record's name is its cell's key, so computing a cell again replaces it by the same; if the two differ, the first
stays and the second is kept beside it as a conflict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sg_bench.errors import SgBenchError
from sg_bench.recipes import key_of
from sg_bench.workspace import Workspace, read_json, write_json

SCHEMA = 1
Record = dict[str, Any]


class Ledger:
    """The records of a workspace, by key."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def get(self, key: str) -> Record | None:
        """Return the record of `key`, or None.

        Raises:
            SgBenchError: the file is damaged, or from a newer sg-bench.
        """
        path = self.workspace.path("cells", f"{key}.json")
        try:
            record = read_json(path)
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _damaged(path, str(error)) from error
        if not isinstance(record, dict) or not isinstance(record.get("schema"), int):
            raise _damaged(path, "it holds no record")
        if record["schema"] > SCHEMA:
            raise SgBenchError(f"{path} has schema {record['schema']}, known up to {SCHEMA}", hint="Update sg-bench")
        if record.get("key") != key:
            raise _damaged(path, f"it is the record of {record.get('key')}")
        return record

    def finished(self) -> Iterator[Record]:
        """Yield the records of all cells that were computed to the end, whichever suite asked for them."""
        for path in sorted(self.workspace.path("cells").glob("*.json")):
            record = self.get(path.stem) if path.stem.isalnum() else None
            if record and record["status"] == "done":
                yield record

    def done(self, key: str) -> bool:
        """Return whether `key` was computed to the end."""
        record = self.get(key)
        return record is not None and record["status"] == "done"

    def put(self, record: Record) -> Record:
        """Store a record and return the one that counts: an earlier finished one stays."""
        record = {"schema": SCHEMA, **record}
        key = record["key"]
        earlier = self.get(key)
        if earlier and earlier["status"] == "done":
            digest = key_of(_evidence(record))
            if record["status"] == "done" and digest != key_of(_evidence(earlier)):
                name = f"{key}.conflict-{digest[:12]}.json"
                write_json(self.workspace.path("cells", name), record)
            return earlier
        write_json(self.workspace.path("cells", f"{key}.json"), record)
        return record

    def conflicts(self) -> dict[str, list[str]]:
        """Return the names of records that were computed again with another outcome, by the cell's key."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.workspace.path("cells").glob("*.conflict-*.json")):
            found.setdefault(path.name.partition(".")[0], []).append(path.name)
        return found


def _damaged(path: Path, what: str) -> SgBenchError:
    return SgBenchError(f"{path} is damaged: {what}", hint="Delete it; the cell is computed again")


def _evidence(record: Record) -> dict[str, Any]:
    """Return the part of a record that must come out the same whenever its key is the same."""
    return {name: record.get(name) for name in ("key", "metrics", "cases")}
