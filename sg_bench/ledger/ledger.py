"""The ledger: one record for each cell, written completely or not at all, never lost, never counted twice.

A record is a small JSON file named by its cell's key; its per-case scores and curves are Parquet files next to it
(tables.py). Computing a cell again replaces a record by the same one; if the two differ, the first stays and the second
is kept as a conflict. Ledgers of several people or machines merge by the same rule.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sg_bench.config import canonical_json, key_of
from sg_bench.digests import OF_FILE, SEAL, read_sealed, sealed_text, write_sealed
from sg_bench.errors import UsageError
from sg_bench.ledger.copies import pull_record, push_record
from sg_bench.ledger.records import (
    DamagedRecordError,
    NewerRecordError,
    agree,
    every_table,
    evidence,
    load_old_tables,
    read_record,
)
from sg_bench.ledger.schema import SCHEMA, Record
from sg_bench.ledger.scores import ScoreTables
from sg_bench.ledger.tables import ScoreTable, damaged_table, is_intact, read_table, split_tables, table_path
from sg_bench.workspace import DAMAGED, Workspace, atomic_file, move_aside, write_atomic

if TYPE_CHECKING:
    import pandas as pd

TakeOutcome = Literal["added", "known", "conflict"]
PUT_ATTEMPTS = 3
"""How often a record is stored on shared storage while other nodes store others of its cell."""
_log = logging.getLogger(__name__)


class Ledger:
    """The records of a workspace, by key.

    Reading moves nothing: a damaged record is skipped, in one line. `set_aside`, which `run` calls, moves it away.
    """

    def __init__(self, workspace: Workspace, *, check_tables: bool = False) -> None:
        """Take a workspace; with `check_tables` a record with a damaged table counts as damaged wherever it is read."""
        self.workspace, self.check_tables = workspace, check_tables
        self.cells = workspace.path("cells")

    def get(self, key: str) -> Record | None:
        """Return the record of `key` without its cases and curves; None if there is none that can be read."""
        try:
            return self._read(key)
        except (DamagedRecordError, NewerRecordError) as error:
            log_skipped(error)
            return None

    def newer(self, key: str) -> bool:
        """Return whether the record of `key` was written by a newer sg-bench, and is neither read nor replaced."""
        try:
            self._read(key)
        except NewerRecordError:
            return True
        except DamagedRecordError:
            pass
        return False

    def set_aside(self, keys: Iterable[str], *, check_tables: bool = False) -> list[str]:
        """Move the damaged records and tables of these cells into the workspace's `damaged/`.

        Args:
            keys: of cells.
            check_tables: read all their tables too.

        Returns:
            One line for each record.
        """
        lines = []
        for key in keys:
            try:
                read_record(self.cells / f"{key}.json", key, check_tables=check_tables)
            except DamagedRecordError:
                with self.workspace.lock("ledger"):
                    lines += self._set_aside(key, check_tables=check_tables)
            except (FileNotFoundError, NewerRecordError):
                continue
        return lines

    def withdraw(self, key: str, folder: str) -> bool:
        """Move the record of a failed cell into a folder of the workspace; return False if there is none any more."""
        with self.workspace.lock("ledger"):
            record = self.get(key)
            if record is None or record["status"] != "failed":
                return False
            path = self.cells / f"{key}.json"
            move_aside(path, self.workspace.root / folder / "cells" / path.name)
        return True

    def _read(self, key: str) -> Record | None:
        try:
            return read_record(self.cells / f"{key}.json", key, check_tables=self.check_tables)
        except FileNotFoundError:
            return None

    def _set_aside(self, key: str, *, check_tables: bool = False) -> list[str]:
        """Move a damaged record away, if it still is; hold the ledger's lock."""
        path = self.cells / f"{key}.json"
        try:
            read_record(path, key, check_tables=check_tables)
        except DamagedRecordError as error:
            for table in self.cells.glob(f"{key}.*.parquet"):
                if not is_intact(table):
                    self.workspace.set_aside("cells", table.name)
            moved = self.workspace.set_aside("cells", path.name)
            return [f"Set aside as {DAMAGED}/cells/{moved.name}: {error.problem}. The cell is computed again"]
        except (FileNotFoundError, NewerRecordError):
            pass
        return []

    def records(self) -> Iterator[Record]:
        """Yield the records of all cells, done and failed, in the order of their keys, without conflicts."""
        for path in sorted(self.cells.glob("*.json")):
            record = self.get(path.stem) if path.stem.isalnum() else None
            if record:
                yield record

    def finished(self) -> Iterator[Record]:
        """Yield the records of all finished cells of any suite."""
        return (record for record in self.records() if record["status"] == "done")

    def done(self, key: str) -> bool:
        """Return whether the cell `key` is finished."""
        record = self.get(key)
        return record is not None and record["status"] == "done"

    def case_scores(self, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the test cases of a finished cell, one row each: ids, patients and what the metrics need of a case.

        Classification: `case`, `patient`, `score`, `truth` (arrays, where there are several outputs). Segmentation:
        `case`, `patient`, the counts of voxels `both`, `predicted`, `true`, and each per-case metric, a fraction in
        [0, 1], NaN where undefined.

        Args:
            key: of the cell.
            columns: only these, as far as the table has them; None: all.

        Raises:
            KeyError: there is no record of `key`.
            SgBenchError: the table is absent or damaged.
        """
        return self.tables(key).case_scores(key, columns)

    def curves(self, key: str) -> list[dict[str, Any]]:
        """Return one row an epoch of a cell's fine-tuning: stage, epoch, step, lr, best, losses by name.

        Raises:
            KeyError: there is no record of `key`.
            SgBenchError: the table is absent or damaged.
        """
        return self.tables(key).curves(key)

    def tables(self, key: str) -> ScoreTables:
        """Return the tables of one cell.

        Raises:
            KeyError: there is no record of `key`.
        """
        record = self.get(key)
        if record is None:
            raise KeyError(key)
        return ScoreTables({key: record}, self.cells)

    def put(self, record: Record) -> Record:
        """Store a record, with `cases` and `curves` as rows inside it, and return the one that counts.

        An earlier finished record stays. The tables are written before the record that names them, so a crash leaves a
        complete record or none. A damaged earlier record is set aside.

        Raises:
            NewerRecordError: the earlier record is from a newer sg-bench.
        """
        light, tables = split_tables({"schema": SCHEMA, **record})
        return self._put(light, tables)

    def rescore(self, key: str, metrics: dict[str, Any], cases: Iterable[Mapping[str, Any]], version: str) -> Record:
        """Replace the metrics and cases of a finished cell by those computed anew, and return its record.

        The replaced ones are kept: `rescored` lists them, the oldest first, each with the version of sg-bench that
        replaced it. A record agrees with another of its key if any of these outcomes is the same, so a ledger that
        still has the old numbers is in no conflict with this one.

        Raises:
            UsageError: the cell is not finished.
        """
        with self.workspace.lock("ledger"):
            record = self.get(key)
            if record is None or record["status"] != "done":
                raise UsageError(f"cell {key[:12]} is not finished", hint="Only finished cells are scored again")
            new, tables = split_tables({**record, "metrics": metrics, "cases": list(cases)})
            if evidence(new) == evidence(record):
                return record
            before = {"version": version, "metrics": record["metrics"], "tables": _cases_of(record)}
            new["rescored"] = [*record.get("rescored", []), before]
            self._write(f"{key}.json", new, [*load_old_tables(self.cells, key), *tables])
        push_record(self.workspace, f"{key}.json", new, replace=True)
        return new

    def take(self, record: Record, cells: Path) -> TakeOutcome:
        """Store a record of another ledger, whose tables are in `cells`, and return the outcome.

        A failure replaces nothing.

        Raises:
            SgBenchError: a table of the record is absent or damaged.
        """
        earlier = self.get(record["key"])
        if record["status"] != "done":
            if not earlier:
                self._put(record, [])
            return "known" if earlier else "added"
        if not agree(self._put(record, [], tables_in=cells), record):
            return "conflict"
        return "known" if earlier and earlier["status"] == "done" else "added"

    def conflicts(self) -> dict[str, list[str]]:
        """Return the names of records that were computed again with another outcome, by the cell's key."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.cells.glob("*.conflict-*.json")):
            found.setdefault(path.name.partition(".")[0], []).append(path.name)
        return found

    def _put(self, record: Record, tables: Sequence[ScoreTable], tables_in: Path | None = None) -> Record:
        for _ in range(PUT_ATTEMPTS):
            pull_record(self.workspace, record["key"])
            counts, written, replaces = self._put_here(record, tables, tables_in)
            if written is None or push_record(self.workspace, written, record, replace=replaces):
                break
        return counts

    def _put_here(
        self, record: Record, tables: Sequence[ScoreTable], tables_in: Path | None
    ) -> tuple[Record, str | None, bool]:
        """Store a record in the workspace's folder.

        Returns:
            The record that counts, the name of the file that was written, and whether there was an earlier one.
        """
        key, name = record["key"], f"{record['key']}.json"
        with self.workspace.lock("ledger"):  # another run may finish what failed here
            for line in self._set_aside(key):
                _log_once(line)
            earlier = self._read(key)
            if earlier and earlier["status"] == "done":
                if record["status"] != "done" or agree(record, earlier):
                    return earlier, None, False
                name = f"{key}.conflict-{key_of(evidence(record))[:12]}.json"
            if tables_in is not None:
                copy_tables(record, tables_in, self.cells)
            self._write(name, record, tables)
            if earlier and earlier["status"] == "done":
                return earlier, name, True
            return record, name, earlier is not None

    def _write(self, name: str, record: Record, tables: Sequence[ScoreTable]) -> None:
        canonical_json(record)  # what JSON cannot hold is refused before any file is written
        for table in tables:
            table.write(self.cells, record["key"])
        write_sealed(self.cells / name, record)


def log_skipped(error: DamagedRecordError | NewerRecordError) -> None:
    """Log in one line why a record counts as not there, once a process."""
    _log_once(f"Skipped: {error}")


@cache
def _log_once(line: str) -> None:
    """Log a warning that a process repeats for each time that it reads a record, once."""
    _log.warning(line)


def copy_tables(record: Record, source: Path, target: Path, *, sync: bool = True) -> None:
    """Copy the tables that a record names from one folder of records to another.

    Tables that the source holds as rows of an older schema are written as files.

    Raises:
        DamagedTableError: a table is absent or damaged.
    """
    tables = {table_path(source, record["key"], name, each): each for name, each in every_table(record)}
    lacking = [path for path in tables if not (target / path.name).is_file()]
    if not all(path.is_file() for path in lacking):
        for table in load_old_tables(source, record["key"]):
            table.write(target, record["key"])
    for path in lacking:
        if path.is_file():
            read_table(path, tables[path])  # a damaged one is not passed on
            if sync:
                write_atomic(target / path.name, path.read_bytes())
            else:
                with atomic_file(target / path.name, sync=False) as file:
                    file.write(path.read_bytes())
        elif not (target / path.name).is_file():
            raise damaged_table(path, "it is not there")


def copy_record(record: Record, target: Path, source: Path | None = None) -> set[str]:
    """Write a record and its tables into another folder, without waiting for the disk; return the names of its files.

    Args:
        record: from a ledger, or with its cases and curves as rows inside it.
        target: a results folder's cells/; files that are there with the same content are kept.
        source: the folder with the tables of a record from a ledger.
    """
    light, tables = split_tables({"schema": SCHEMA, **record})
    for table in tables:
        table.write(target, record["key"])
    if source is not None:
        copy_tables(light, source, target, sync=False)
    path = target / f"{record['key']}.json"
    if not _holds(path, light):
        kept = source is not None and _holds(source / path.name, light, sealed=True)
        with atomic_file(path, sync=False) as file:
            file.write((source / path.name).read_bytes() if source and kept else sealed_text(light).encode())
    names = (table_path(target, record["key"], name, described).name for name, described in every_table(light))
    return {path.name, *names}


def _holds(path: Path, record: Record, *, sealed: bool = False) -> bool:
    """Return whether a file holds this record, if asked with its digest: reading is ten times faster than writing."""
    try:
        return bool(read_sealed(path) == record) and (not sealed or f'\n "{SEAL}": ' in path.read_text())
    except (OSError, ValueError):
        return False


def mixed(records: Mapping[str, Record]) -> list[str]:
    """Return "store 1a2b3c..." for each store or initialisation that two records used with different content.

    It was computed anew between them and came out differently, as when files change that keep their names and sizes.
    """
    digests: dict[str, set[str]] = {}
    for record in records.values():
        for what in ("store", "initialisation"):
            digest = record.get("outputs", {}).get(what)
            if digest:
                digests.setdefault(f"{what} {key_of(record['recipe'][what])[:12]}", set()).add(digest)
    return sorted(name for name, found in digests.items() if _differ(found))


def _cases_of(record: Record) -> dict[str, Any]:
    return {name: table for name, table in record.get("tables", {}).items() if name == "cases"}


def _differ(digests: set[str]) -> bool:
    """Return whether two digests differ that were taken of the same thing: both of files, or both of content."""
    of_files = sum(digest.startswith(OF_FILE) for digest in digests)
    return of_files > 1 or len(digests) - of_files > 1
