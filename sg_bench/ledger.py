"""What is done: one file a cell, written at once or not at all, never lost, never counted twice.

A record's name is its cell's key, so computing a cell again replaces it by the same; if the two differ, the first
stays and the second is kept beside it as a conflict.
"""

from __future__ import annotations

import json
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
            record: Record = read_json(path)
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise SgBenchError(f"{path} is damaged: {error}", hint="Delete it; the cell is computed again") from error
        if record.get("schema", 0) > SCHEMA:
            raise SgBenchError(f"{path} has schema {record['schema']}, known up to {SCHEMA}", hint="Update sg-bench")
        return record

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
            if record["status"] == "done" and _evidence(record) != _evidence(earlier):
                name = f"{key}.conflict-{key_of(_evidence(record))[:12]}.json"
                write_json(self.workspace.path("cells", name), record)
            return earlier
        write_json(self.workspace.path("cells", f"{key}.json"), record)
        return record

    def conflicts(self, key: str) -> list[str]:
        """Return the names of records that were computed again with another outcome."""
        return sorted(path.name for path in self.workspace.path("cells").glob(f"{key}.conflict-*.json"))


def _evidence(record: Record) -> dict[str, Any]:
    """Return the part of a record that must come out the same whenever its key is the same."""
    return {name: record.get(name) for name in ("key", "metrics", "cases")}
