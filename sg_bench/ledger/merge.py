"""One ledger from those of several people or machines."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from sg_bench.config import canonical_json, key_of
from sg_bench.digests import npz_digest, read_sealed, safetensors_digest, weights_digest
from sg_bench.errors import FailureKind, SgBenchError, UsageError
from sg_bench.ledger.copies import push_predictions
from sg_bench.ledger.ledger import Ledger
from sg_bench.ledger.records import agree, damaged, every_table, read_record
from sg_bench.ledger.schema import Record, initialisation_digest
from sg_bench.ledger.tables import TABLES, check_table, table_path
from sg_bench.workspace import WEIGHT_FILES, Workspace

KEY = r"[0-9a-f]{64}"


@dataclass
class Merged:
    """Result of merging: counts, conflicts and what was left out."""

    added: int = 0
    """Records that the ledger lacked, or had only as failed."""
    known: int = 0
    """Records that it had already: with the same outcome, or finished where the new ones had failed."""
    predictions: int = 0
    """Files that were copied."""
    initialisations: int = 0
    """Folders that were copied."""
    conflicts: list[str] = field(default_factory=list)
    """Results with two outcomes under one key: the first stays, the second of a record is kept as a conflict."""
    damaged: list[str] = field(default_factory=list)
    """Files that were skipped, each with its path and the reason."""


def merge(sources: Sequence[Path], into: Workspace) -> Merged:
    """Copy the records of workspaces and results folders, with their tables, into one workspace.

    Records of the workspace come before those of the sources, and those of a source before those of later ones.
    Merging again changes nothing. Predictions and initialisations, which only workspaces have, are copied where they
    are missing.

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
            _check_tables(record, path.parent)
            outcome = ledger.take(record, path.parent)
            merged.added += outcome == "added"
            merged.known += outcome == "known"
            if outcome == "conflict":
                merged.conflicts.append(f"{path}: another outcome of cells/{key}.json")
            _merge_predictions(source, ledger, record, merged)
        except (SgBenchError, OSError) as error:
            merged.damaged.append(error.problem if isinstance(error, SgBenchError) else f"{path}: {error.strerror}")


def _checked(record: Record, path: Path) -> Record:
    """Return a record of another ledger after checking its form.

    Raises:
        SgBenchError: a ledger may not hold it.
    """
    try:
        canonical_json(record)
        recipe = key_of(record["recipe"])
    except (KeyError, ValueError) as error:
        raise damaged(path, str(error)) from error
    if recipe != record["key"]:
        raise damaged(path, f"its recipe has the key {recipe}")
    if not (_is_finished(record) or _is_failure(record)):
        raise damaged(path, "it holds no finished cell and no failure")
    return record


def _check_tables(record: Record, cells: Path) -> None:
    """Check the content of a record's table files against the digests in the record.

    Raises:
        SgBenchError: one does not.
    """
    for name, description in every_table(record):
        path = table_path(cells, record["key"], name, description)
        if path.is_file():
            check_table(path, description)


def _is_finished(record: Record) -> bool:
    metrics, outputs = record.get("metrics"), record.get("outputs")
    if record.get("status") != "done" or not isinstance(metrics, dict) or not isinstance(outputs, dict):
        return False
    numbers = all(score is None or isinstance(score, (int, float)) for score in metrics.values())
    return numbers and isinstance(record.get("headline"), str) and _has_tables(record)


def _has_tables(record: Record) -> bool:
    try:
        described = list(every_table(record))
    except (AttributeError, KeyError, TypeError):
        return False
    sound = all(
        name in TABLES
        and isinstance(description, dict)
        and isinstance(description.get("rows"), int)
        and re.fullmatch(KEY, str(description.get("sha256")))
        for name, description in described
    )
    return sound and any(name == "cases" for name, _ in described)


def _is_failure(record: Record) -> bool:
    error = record.get("error")
    return record.get("status") == "failed" and isinstance(error, dict) and error.get("kind") in get_args(FailureKind)


def _merge_predictions(source: Path, ledger: Ledger, record: Record, merged: Merged) -> None:
    name = f"{record['key']}.npz"
    theirs, ours = source / "predictions" / name, ledger.workspace.path("predictions", name)
    if record["status"] != "done" or ours.exists() or not theirs.is_file():
        return
    if not agree(ledger.get(record["key"]) or record, record):
        return
    digest = record["outputs"].get("predictions")
    if digest and npz_digest(theirs, like=digest) != digest:
        raise damaged(theirs, "its content has another digest than in the record")
    with _appearing(ours) as unfinished:
        shutil.copyfile(theirs, unfinished)
    push_predictions(ledger.workspace, record)
    merged.predictions += 1


def _merge_initialisations(namespace: Path, into: Workspace, merged: Merged) -> None:
    complete = (path.parent for path in namespace.glob("*/record.json"))
    for folder in sorted(path for path in complete if re.fullmatch(KEY, path.name)):
        try:
            digest, ours = _weights(folder), into.path("initialisations", folder.name)
            with into.lock(folder.name):
                if into.remote:
                    into.remote.fetch("initialisations", folder.name)
                if not (ours / "record.json").is_file():
                    with _appearing(ours) as unfinished:
                        shutil.copytree(folder, unfinished)
                    if into.remote:
                        into.remote.publish("initialisations", folder.name, "record.json")
                    merged.initialisations += 1
                elif _weights(ours) != digest:
                    merged.conflicts.append(f"{folder}: other weights than in initialisations/{folder.name}")
        except (SgBenchError, OSError) as error:
            merged.damaged.append(error.problem if isinstance(error, SgBenchError) else f"{folder}: {error.strerror}")


def _weights(folder: Path) -> str:
    """Return the content digest of an initialisation.

    Raises:
        SgBenchError: its record or its weights are damaged.
    """
    paths = [folder / name for name in WEIGHT_FILES]
    try:
        digest = safetensors_digest(paths)
        record = read_sealed(folder / "record.json")
        key, recorded = key_of(record["recipe"]), initialisation_digest(record)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder / "record.json", str(error)) from error
    if key != folder.name or recorded != weights_digest(paths, like=recorded):
        raise damaged(folder, "its content has another digest than in its record")
    return digest


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Yield a path in the same folder to write a file or folder to; it then becomes `path` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".merging-") as folder:
        unfinished = Path(folder) / path.name
        yield unfinished
        if path.is_dir():
            shutil.rmtree(path)
        unfinished.rename(path)
