"""Schemas of records, and the migration from each to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sg_bench.digests import OF_FILE

SCHEMA = 2
Record = dict[str, Any]


def schema_of(record: Any) -> int | None:
    """Return a record's schema, or None if it is no record; schema 0 did not write its number."""
    if not isinstance(record, dict):
        return None
    first = {"key", "status"} <= record.keys() and isinstance(record.get("recipe"), dict)
    schema = record.get("schema", 0 if first else None)
    return schema if isinstance(schema, int) and not isinstance(schema, bool) else None


def is_record(record: Record) -> bool:
    """Return whether a record of the current schema has the fields of a finished cell, or those of a failed one."""
    if not isinstance(record.get("recipe"), dict) or not isinstance(record.get("key"), str):
        return False
    if record.get("status") == "failed":
        error = record.get("error")
        return isinstance(error, dict) and isinstance(error.get("kind"), str) and isinstance(error.get("message"), str)
    parts = (record.get(name, {}) for name in ("metrics", "outputs", "tables", "counts", "ran"))
    return record.get("status") == "done" and all(isinstance(part, dict) for part in parts)


def migrated(record: Record, schema: int) -> Record:
    """Return a record of an older schema in the current one; its cases and curves are still rows inside it."""
    for older in range(schema, SCHEMA):
        record = {**MIGRATIONS[older](record), "schema": older + 1}
    return dict(record)


def initialisation_digest(record: Record) -> str:
    """Return the digest of the weights in an initialisation's own record.

    Raises:
        KeyError: the record has none.
    """
    digest = str(record["outputs"]["initialisation"])
    return digest if record.get("schema", 1) > 1 or digest.startswith(OF_FILE) else OF_FILE + digest


def _from_0(record: Record) -> Record:
    """Schema 0 -> 1: name the two metrics, give each failure a kind, and collect what a run took under `ran`.

    No release wrote schema 0. It is the shape of first drafts: without `schema`, `headline`, `parity`, `counts`,
    `loaded` and `outputs`, with `seconds` of wall time, and with an error as one line of text.
    """
    record = dict(record)
    seconds, error = record.pop("seconds", None), record.get("error")
    task = record["recipe"].get("task", {})
    if isinstance(error, str):  # the cause is not known, and infrastructure is computed again
        error = {"kind": "infrastructure", "type": "", "message": error, "traceback": ""}
    record |= {"error": error, "ran": {} if seconds is None else {"wall_seconds": seconds}}
    if record["status"] == "done":
        record |= {"headline": task.get("headline"), "parity": task.get("parity")}
        record |= {"counts": {}, "loaded": "", "outputs": {}}
    return record


def _from_1(record: Record) -> Record:
    """Schema 1 -> 2: mark the digests of outputs as those of files, since then they are digests of content.

    `beside` is called `secondary`. Cases and curves, rows in schema 1, are tables of their own: see tables.py.
    """
    record = {"secondary" if name == "beside" else name: value for name, value in record.items()}
    outputs = record.get("outputs")
    if not isinstance(outputs, dict):
        return record
    marked = {name: f"{OF_FILE}{digest}" if isinstance(digest, str) else digest for name, digest in outputs.items()}
    return {**record, "outputs": marked}


MIGRATIONS: dict[int, Callable[[Record], Record]] = {0: _from_0, 1: _from_1}
"""How a record of each older schema becomes one of the next; none is ever removed."""
