"""Submissions that others have sent: checked without trusting them, and read as evidence."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from sg_bench.config import key_of
from sg_bench.digests import unsealed
from sg_bench.errors import DataError, SgBenchError, UsageError
from sg_bench.evaluation.metrics import bounds_of
from sg_bench.ledger import Record, read_record
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.folders import read_evidence
from sg_bench.reporting.leaderboards.archives import MAX_FILE, archive_bytes, check_sizes, read_archive
from sg_bench.reporting.leaderboards.manifest import MANIFEST, SubmissionManifest
from sg_bench.reporting.leaderboards.private import private_texts
from sg_bench.reporting.tables import main_table
from sg_bench.workspace import read_bytes

MAX_TABLE: Final = 256 * 2**20
"""Bytes of a table once it is unpacked."""
MAX_ROWS: Final = 5_000_000
UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error, OSError)
"""What reading content raises that is not what it should be."""


class SubmissionError(DataError):
    """A submission cannot be used."""


@dataclass(frozen=True)
class Submission:
    """A submission whose files hold what its manifest and their own digests say."""

    name: str
    """Unique on a board: name of the file and digits of the digest of its content."""
    manifest: SubmissionManifest
    evidence: Evidence = field(repr=False)
    archive: bytes = field(repr=False, default=b"")
    """Written anew from the checked files."""


def open_submissions(places: Sequence[Path], scratch: Path) -> tuple[list[Submission], dict[str, str]]:
    """Return the submissions that hold, and why each other one does not, by its name.

    Args:
        places: archives, folders of archives, and unpacked submissions.
        scratch: an empty folder, which holds their files as long as they are used.

    Raises:
        UsageError: a place does not exist or holds no submission.
    """
    good, bad, seen = list[Submission](), dict[str, str](), dict[str, str]()
    for number, path in enumerate(_found(places)):
        shown = path.name if path.name not in bad else str(path)
        try:
            found = _opened(path, scratch / str(number))
        except SgBenchError as error:
            bad[shown] = error.problem.replace(f"{scratch / str(number)}/", "").replace(str(path), path.name)
            continue
        digest = hashlib.sha256(found.archive).hexdigest()
        if digest in seen:
            bad[shown] = f"it is the same as {seen[digest]}"
            continue
        seen[digest] = path.name
        good.append(found)
    return good, bad


def check_files(path: Path, files: Mapping[str, bytes], folder: Path) -> list[Record]:
    """Write the files of a submission into a folder, and return its records.

    Args:
        path: of the submission, for messages.
        files: content by name.
        folder: need not exist.

    Raises:
        SubmissionError: a record or table is damaged, or is not what its name or its recipe says.
    """
    for name, content in files.items():
        _write(folder / name, content)
    records = []
    for file in sorted((folder / "cells").glob("*.json")):
        for table in sorted(file.parent.glob(f"{file.stem}.*.parquet")):
            _check_table_size(path, table)
        try:
            record = read_record(file, file.stem, check_tables=True)
            problem = _problem(record)
        except SgBenchError as error:
            raise SubmissionError(f"{path}: {error.problem.replace(f'{folder}/', '')}") from error
        except UNREADABLE as error:
            raise SubmissionError(f"{path}: cells/{file.name} is damaged ({error})") from error
        if problem:
            raise SubmissionError(f"{path}: cells/{file.name}: {problem}")
        records.append(record)
    if not records:
        raise SubmissionError(f"{path} has no finished run")
    return records


def _found(places: Sequence[Path]) -> Iterable[Path]:
    for place in places:
        if place.is_file() or (place / MANIFEST).is_file():
            yield place
        elif place.is_dir() and (archives := sorted(place.glob("*.zip"))):
            yield from archives
        else:
            what = "holds no submission" if place.exists() else "does not exist"
            raise UsageError(
                f"{place} {what}", hint="sg-bench submit FOLDER packs one: name archives, or folders of them"
            )


def _opened(path: Path, scratch: Path) -> Submission:
    files = read_archive(path) if path.is_file() else _read_folder(path)
    try:
        manifest = SubmissionManifest.model_validate(unsealed(files.get(MANIFEST, b"")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SubmissionError(f"{path}: {MANIFEST}, {place[:100]}: {first['msg']}") from error
    except UNREADABLE as error:
        raise SubmissionError(f"{path}: {MANIFEST} is absent or damaged ({error})") from error
    content = {name: each for name, each in files.items() if name != MANIFEST}
    digests = {name: hashlib.sha256(each).hexdigest() for name, each in content.items()}
    names = digests.keys() | manifest.files.keys()
    if wrong := sorted(name for name in names if digests.get(name) != manifest.files.get(name)):
        raise SubmissionError(f"{path}: {wrong[0][:100]} is not the file that the manifest names")
    check_files(path, content, scratch)
    try:
        if private := private_texts(files, {}, manifest.allowed):
            raise SubmissionError(f"{path}: {private[0]}")
        evidence = read_evidence(scratch)
        main_table(evidence.cells, evidence.records)
        _check_runs(path, manifest, evidence)
    except UNREADABLE as error:
        raise SubmissionError(f"{path}: its records cannot be read ({error})") from error
    archive = archive_bytes(files)
    short = re.sub(r"[^a-z0-9]+", "-", path.name.removesuffix(".zip").lower()).strip("-")[:40]
    name = f"{short}-{hashlib.sha256(archive).hexdigest()[:8]}".lstrip("-")
    return Submission(name, manifest, evidence, archive)


def _read_folder(path: Path) -> dict[str, bytes]:
    """Return the files of an unpacked submission; links are refused."""
    found = [each for each in sorted(path.rglob("*")) if each.is_symlink() or not each.is_dir()]
    if linked := next((each for each in found if each.is_symlink()), None):
        raise SubmissionError(f"{path}: {linked.relative_to(path)} is a link")
    check_sizes(path, {each.relative_to(path).as_posix(): each.stat().st_size for each in found})
    return {each.relative_to(path).as_posix(): read_bytes(each) for each in found}


def _check_table_size(path: Path, table: Path) -> None:
    """Refuse a table that unpacks to more than a run has, before it is read.

    Raises:
        SubmissionError: it does, or is no table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table) as file:
            about = file.metadata
            size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
            if size > MAX_TABLE or about.num_rows > MAX_ROWS or about.num_rows * about.num_columns > MAX_FILE:
                raise SubmissionError(f"{path}: {table.name} unpacks to more than a table of a run may have")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SubmissionError(f"{path}: {table.name} is damaged: {error}") from error


def _problem(record: Record) -> str:
    """Return why a record cannot be on a board, or ""."""
    recipe = record["recipe"]
    if key_of(recipe) != record["key"]:
        return "its recipe has another key"
    if record["status"] != "done":
        return "its run failed"
    texts = (recipe["task"]["name"], recipe["store"]["source"], recipe["initialisation"]["method"])
    if not all(isinstance(text, str) and 0 < len(text) <= 300 for text in texts):
        return "its recipe names no task, data or method"
    if not all(isinstance(recipe[seed], int) for seed in ("pretraining_seed", "fine_tuning_seed")):
        return "its recipe has no seeds"
    for name, value in record["metrics"].items():
        low, high = bounds_of(name) or (-math.inf, math.inf)
        if value is not None and not (isinstance(value, int | float) and low <= value <= high):
            return f"{name} = {str(value)[:40]} is no value of this metric"
    return ""


def _check_runs(path: Path, manifest: SubmissionManifest, evidence: Evidence) -> None:
    """Compare the runs that a manifest states with the records.

    Raises:
        SubmissionError: they differ.
    """
    stated = {(runs.method, runs.task): runs.done for runs in manifest.runs if runs.done}
    found = {place: len(runs) for place, runs in evidence.runs.items()}
    if stated != found:
        place = next(each for each in sorted(stated.keys() | found.keys()) if stated.get(each) != found.get(each))
        there, here = found.get(place, 0), stated.get(place, 0)
        raise SubmissionError(f"{path}: {' on '.join(place)[:200]} has {there} records, the manifest states {here}")


def _write(path: Path, content: bytes) -> None:
    """Write a file of a temporary folder, for which nobody waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
