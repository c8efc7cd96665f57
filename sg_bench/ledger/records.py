"""One record and its file: reading it in the current schema, and comparing it with another of its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sg_bench.config import key_of
from sg_bench.digests import read_sealed
from sg_bench.errors import SgBenchError
from sg_bench.ledger.schema import SCHEMA, Record, is_record, migrated, schema_of
from sg_bench.ledger.tables import DamagedTableError, ScoreTable, TableName, check_table, split_tables, table_path


class DamagedRecordError(SgBenchError):
    """A record's file cannot be used."""


class NewerRecordError(SgBenchError):
    """A record was written by a newer sg-bench."""


def read_record(path: Path, key: str, *, check_tables: bool = False) -> Record:
    """Return the record of `key` in `path`, in the current schema and without its cases and curves.

    Args:
        path: the record's file.
        key: of the cell.
        check_tables: read its tables too, and compare their content with their digests; else they need only be there.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedRecordError: the file or a table is damaged.
        NewerRecordError: the file is from a newer sg-bench.
    """
    record, schema = _load(path, key)
    try:
        if schema < SCHEMA:
            return split_tables(record)[0]
        for table, description in every_table(record):
            file = table_path(path.parent, key, table, description)
            if not file.is_file():
                raise damaged(path, f"its {table} are not there ({file.name})")
            if check_tables:
                check_table(file, description)
    except DamagedTableError as error:
        raise damaged(path, error.problem) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged(path, f"it holds no record ({error})") from error
    return record


def load_old_tables(cells: Path, key: str) -> list[ScoreTable]:
    """Return the tables that a record of an older schema holds as rows; empty for any other."""
    try:
        record, schema = _load(cells / f"{key}.json", key)
    except FileNotFoundError:
        return []
    return split_tables(record)[1] if schema < SCHEMA else []


def every_table(record: Record) -> Iterator[tuple[TableName, dict[str, Any]]]:
    """Yield the name and description of each table of a record, also of those from before it was rescored."""
    for outcome in outcomes(record):
        yield from outcome.get("tables", {}).items()


def damaged(path: Path, reason: str) -> DamagedRecordError:
    """Return the error of a file that cannot be used."""
    return DamagedRecordError(
        f"{path} is damaged: {reason}", hint="sg-bench run sets it aside and computes the cell again"
    )


def agree(one: Record, other: Record) -> bool:
    """Return whether two records have an outcome in common, counting those from before they were rescored."""
    ours, theirs = ({key_of(evidence(each)) for each in outcomes(record)} for record in (one, other))
    return not ours.isdisjoint(theirs)


def outcomes(record: Record) -> Iterator[Record]:
    """Yield a record as it is, and as it was before each time that it was rescored."""
    yield record
    for earlier in record.get("rescored", []):
        yield {**record, "metrics": earlier["metrics"], "tables": earlier.get("tables", {})}


def evidence(record: Record) -> dict[str, Any]:
    """Return the part of a record that must be the same whenever its key is the same."""
    cases = record.get("tables", {}).get("cases", {})
    return {"key": record.get("key"), "metrics": record.get("metrics"), "cases": cases.get("sha256")}


def _load(path: Path, key: str) -> tuple[Record, int]:
    """Return a record as its file holds it, in the current schema, and the schema of the file."""
    try:
        record = read_sealed(path)
    except ValueError as error:
        raise damaged(path, str(error)) from error
    schema = schema_of(record)
    if schema is None or schema < 0:
        raise damaged(path, "it holds no record")
    if schema > SCHEMA:
        raise NewerRecordError(f"{path} has schema {schema}, known up to {SCHEMA}", hint="Update sg-bench")
    if record.get("key") != key:
        raise damaged(path, f"it is the record of {record.get('key')}")
    try:
        record = migrated(record, schema)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged(path, f"it holds no record ({error})") from error
    if not is_record(record):
        raise damaged(path, "it holds no finished cell and no failure")
    return record, schema
