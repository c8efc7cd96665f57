"""The shapes that a record has had, and the way from each to today's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCHEMA = 1
Record = dict[str, Any]


def schema_of(record: Any) -> int | None:
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
