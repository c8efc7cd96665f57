"""Packs results as a submission, after checking that others can use them and that nobody is named in them."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg_bench.config import canonical_json
from sg_bench.digests import sealed_text
from sg_bench.errors import DataError, UsageError
from sg_bench.ledger import DamagedTableError, copy_record, mixed
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import distinct_cells
from sg_bench.reporting.leaderboards.archives import archive_bytes, check_sizes
from sg_bench.reporting.leaderboards.manifest import (
    MANIFEST,
    SUBMISSION_SCHEMA,
    RunCounts,
    SubmissionManifest,
    describe,
)
from sg_bench.reporting.leaderboards.private import own_names, private_texts
from sg_bench.reporting.leaderboards.submissions import check_files
from sg_bench.reporting.render import scores_csv
from sg_bench.suite import Suite, claims_digest, suite_digest
from sg_bench.workspace import read_json, write_atomic

FIRST_CLAIMS_FILE = "claims.json"


@dataclass(frozen=True)
class PackedSubmission:
    """An archive that was written, and what its submitter should know."""

    path: Path
    manifest: SubmissionManifest
    size: int
    """Bytes."""
    cautions: tuple[str, ...]

    @property
    def lacking(self) -> list[str]:
        """Return a line for each method and task of which planned runs are not done."""
        return [f"{runs.method} on {runs.task}: {runs.lacking}" for runs in self.manifest.runs if runs.lacking]


def pack(
    evidence: Evidence,
    suite: Suite,
    out: Path,
    *,
    results: Path,
    planned: Sequence[RunCounts] = (),
    allowed: Sequence[str] = (),
) -> PackedSubmission:
    """Check results and write them as one archive; nothing is written if anything does not hold.

    Records of failed runs stay here, as messages name files; the manifest counts them.

    Args:
        evidence: cells and records, with the folder of their tables.
        suite: that they are of.
        out: the archive.
        results: the folder of the suite's report, with the claims as they were at the first one.
        planned: runs of each method and task, as the report's table counts them; empty: those of `evidence`.
        allowed: texts that look private and are harmless.

    Raises:
        DataError: lists what does not hold.
    """
    problems = [*_conflicts(evidence), *_lost(evidence, planned), *_changed_claims(suite, results)]
    if problems:
        raise DataError("; ".join(problems), hint="Nothing was written")
    files, manifest = _files(evidence, suite, results, planned, allowed)
    check_sizes(out, {name: len(content) for name, content in files.items()})
    found = private_texts(files, own_names(), allowed)
    if found:
        hint = "Nothing was written. What is harmless is declared with --allow TEXT"
        raise DataError(f"these files name a person or a place: {'; '.join(map(str, found))}", hint=hint)
    raw = archive_bytes(files)
    write_atomic(out, raw)
    return PackedSubmission(out, manifest, len(raw), tuple(_cautions(evidence, manifest)))


def report_counts(folder: Path) -> list[RunCounts]:
    """Return the runs that the report in a results folder was planned with.

    Raises:
        UsageError: there is no report.
        DataError: its table cannot be read.
    """
    path = folder / "tables" / "main.csv"
    if not path.is_file():
        raise UsageError(f"{folder} holds no report", hint="sg-bench report --out FOLDER writes one")
    counts: dict[tuple[str, str], RunCounts] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                planned, failed, missing, valued = (int(row[name]) for name in ("planned", "failed", "missing", "n"))
                place = row["method"], row["task"]
                done = max(valued, counts[place].done if place in counts else 0)
                counts[place] = RunCounts(
                    method=place[0], task=place[1], planned=planned, done=done, failed=failed, missing=missing
                )
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is damaged: {error}", hint="sg-bench report writes it again") from error
    return list(counts.values())


def planned_counts(evidence: Evidence) -> list[RunCounts]:
    """Return the runs of each method on each task among planned cells."""
    states: dict[tuple[str, str], Counter[str]] = {}
    for cell in distinct_cells(evidence.cells):
        record = evidence.records.get(cell.key) if cell.key else None
        state = record["status"] if record else "missing" if cell.missing else "absent"
        states.setdefault((cell.method, cell.task), Counter())[state] += 1
    return [
        RunCounts(
            method=method,
            task=task,
            planned=found.total(),
            done=found["done"],
            failed=found["failed"],
            missing=found["missing"],
        )
        for (method, task), found in states.items()
    ]


def _files(
    evidence: Evidence, suite: Suite, results: Path, planned: Sequence[RunCounts], allowed: Sequence[str]
) -> tuple[dict[str, bytes], SubmissionManifest]:
    """Return the files of a submission by name, after reading each record and table from its copy."""
    with tempfile.TemporaryDirectory() as scratch:
        copied, checked = Path(scratch, "copied"), Path(scratch, "checked")
        for runs in evidence.runs.values():
            for run in runs:
                try:
                    copy_record(run.record, copied / "cells", evidence.folder)
                except DamagedTableError as error:
                    raise DataError(error.problem, hint="Nothing was written") from error
        files = {f"cells/{path.name}": path.read_bytes() for path in sorted((copied / "cells").glob("*"))}
        check_files(results, files, checked)
    files["tables/scores.csv"] = scores_csv(evidence.table).encode()
    if (results / FIRST_CLAIMS_FILE).is_file():
        first = read_json(results / FIRST_CLAIMS_FILE).get(suite.name, {})
        files[FIRST_CLAIMS_FILE] = (canonical_json({suite.name: first}) + "\n").encode()
    stated = {
        "submission": SUBMISSION_SCHEMA,
        "name": suite.title or suite.name,
        "suite": {"name": suite.name, "digest": suite_digest(suite), "claims": claims_digest(suite)},
        **describe(evidence),
        "runs": [runs.model_dump() for runs in _counted(evidence, planned)],
        "allowed": sorted(set(allowed)),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[MANIFEST] = sealed_text(stated).encode()
    return files, SubmissionManifest.model_validate(stated)


def _counted(evidence: Evidence, planned: Sequence[RunCounts]) -> list[RunCounts]:
    """Return the planned runs with those that are done counted by their records."""
    if not planned:
        return planned_counts(evidence)
    done = {place: len(runs) for place, runs in evidence.runs.items()}
    return [runs.model_copy(update={"done": done.get((runs.method, runs.task), 0)}) for runs in planned]


def _conflicts(evidence: Evidence) -> Iterable[str]:
    """Yield each cell with two outcomes, and each store or initialisation with two contents."""
    keys = {cell.key for cell in evidence.cells}
    folder = evidence.folder or Path()
    for path in sorted(folder.glob("*.conflict-*.json")):
        if path.name.partition(".")[0] in keys:
            yield f"cells/{path.name}: this cell was computed again with another outcome"
    yield from (f"cells stand on different outputs of one recipe: {name}" for name in mixed(evidence.records))


def _lost(evidence: Evidence, planned: Sequence[RunCounts]) -> Iterable[str]:
    """Yield each method and task of which the report counts more runs than there are readable records."""
    counted = {(runs.method, runs.task): runs.done for runs in planned}
    found = {place: len(runs) for place, runs in evidence.runs.items()}
    for place, number in counted.items():
        if found.get(place, 0) < number:
            here = found.get(place, 0)
            yield f"{' on '.join(place)}: the report has {number} finished runs, readable records are {here}"
    for place in found.keys() - counted.keys() if planned else ():
        yield f"{' on '.join(place)}: has records, and is not in the report: write that again"


def _changed_claims(suite: Suite, results: Path) -> Iterable[str]:
    """Yield whether the claims of a suite differ from those of its first report."""
    path = results / FIRST_CLAIMS_FILE
    if not path.is_file():
        if suite.claims:
            yield f"{path} is not there: whether claims were changed after the first report is unknown"
        return
    try:
        first = (read_json(path).get(suite.name) or {}).get("digest")
    except (ValueError, AttributeError) as error:
        yield f"{path} is damaged: {error}"
        return
    if first != claims_digest(suite):
        yield f"claims of the suite '{suite.name}' were changed after the first report ({path.name})"


def _cautions(evidence: Evidence, manifest: SubmissionManifest) -> Iterable[str]:
    versions: Mapping[str, Any] = manifest.versions
    for name, found in versions.items():
        if len(found) > 1:
            yield f"runs of different versions of {name}: {', '.join(found)}"
    for stated in manifest.data:
        if not stated.licence:
            yield (
                f"data '{stated.source}': the names of its cases and patients are part of the submission; make sure "
                "that they may be published"
            )
