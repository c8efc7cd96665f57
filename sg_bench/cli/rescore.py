"""`sg-bench rescore`: compute every metric again from the stored predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sg_bench.cli import options
from sg_bench.errors import UsageError

if TYPE_CHECKING:
    from sg_bench.evaluation.rescoring import PredictionState, Rescored
    from sg_bench.ledger import Ledger, Record
    from sg_bench.reporting.evidence import Evidence
    from sg_bench.reporting.frame import Cell

Cells = Annotated[
    list[str] | None,
    typer.Argument(metavar="[CELL]...", help="Six or more digits of a key, method/task, or method/task/0/3; else all."),
]
CellsOfSuite = Annotated[str, typer.Option("--suite", help="Only cells of this suite, by its names.")]
Stream = Annotated[
    int | None,
    typer.Option("--stream", metavar="BATCH", min=1, help="Print mean_iou_keras batch by batch too; theirs were 16."),
]
Write = Annotated[bool, typer.Option("--write", help="Put what differs into the records; the old values stay there.")]


def rescore(
    cells: Cells = None,
    suite: CellsOfSuite = "",
    work: options.RecordsFolder = None,
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    settings: options.Set = [],  # noqa: B006 - likewise
    stream: Stream = None,
    write: Write = False,
    as_json: options.Json = False,
) -> None:
    """Compute every metric again from the stored predictions, and compare it with the ledger.

    Exit codes: 0 all the same or written, 1 something differs, 2 wrong usage, 3 predictions are missing or damaged.

    Examples: sg-bench rescore; sg-bench rescore scratch/ncs --suite demo --stream 16; sg-bench rescore --write
    """
    from sg_bench.cli.printing import evidence_of_suite
    from sg_bench.cli.selection import opened
    from sg_bench.evaluation import rescoring
    from sg_bench.ledger import Ledger
    from sg_bench.ledger.copies import pull_predictions

    workspace = opened(work)
    evidence = evidence_of_suite(suite, work, settings, data)
    ledger, results = Ledger(workspace), []
    for cell, record in _finished(ledger, _named(workspace.root, cells or [], evidence)):
        pull_predictions(workspace, record)
        found = rescoring.rescore(record, workspace, stream=stream)
        done = write and rescoring.write(found, ledger)
        name = f"{cell.method}/{cell.task}/{cell.pretraining_seed}/{cell.fine_tuning_seed}"
        for line in () if as_json else _lines(found, record, stream):
            typer.echo(f"{name} {cell.key[:12]}: {line}{' (written)' if done else ''}")
        results.append(found)
    if not results:
        raise UsageError(f"{workspace.shown}: none of these cells is finished", hint="sg-bench run computes them")
    code = rescoring.exit_code(results, written=write)
    if as_json:
        typer.echo(options.json_text({"cells": [_json(found) for found in results], "exit_code": code}))
        raise typer.Exit(code)
    typer.echo(_summary(results))
    if write and any(found.state == "differs" for found in results):
        typer.echo("Tables are as they were: sg-bench report writes them anew.")
    raise typer.Exit(code)


def _json(found: Rescored) -> dict[str, Any]:
    changes = [{"metric": each.name, "old": each.old, "new": each.new} for each in found.changes]
    return {
        "key": found.key,
        "state": found.state,
        "reason": found.reason,
        "changes": changes,
        "changed_cases": found.rows,
        "metrics": found.metrics,
        "mean_iou_keras_stream": found.streamed,
    }


def _named(folder: Path, names: Sequence[str], evidence: Evidence | None) -> list[Cell]:
    """Return the cells of a suite, or of a folder, that have these names; all of them without a name."""
    from sg_bench.reporting.explain import find_cells
    from sg_bench.reporting.folders import read_evidence

    evidence = evidence or read_evidence(folder)
    found = [cell for name in names for cell in find_cells(evidence, name)] if names else evidence.cells
    return list({cell.key: cell for cell in found}.values())


def _finished(ledger: Ledger, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Record]]:
    for cell in {cell.key: cell for cell in cells if cell.key}.values():
        record = ledger.get(cell.key)
        if record and record["status"] == "done":
            yield cell, record


def _lines(found: Rescored, record: Record, stream: int | None) -> Iterator[str]:
    from sg_bench.ledger import ScoreTables

    if found.reason:
        yield f"{found.state}: {found.reason}"
    elif found.state == "same":
        yield "same"
    yield from (f"{change.name} {change.old} -> {change.new}" for change in found.changes)
    if found.rows:
        yield f"the rows of {found.rows} of {ScoreTables({found.key: record}).count(found.key)} cases"
    if found.streamed is not None:
        pooled = found.metrics["mean_iou_keras"]
        yield f"mean_iou_keras_stream, batches of {stream}: {found.streamed!r} (pooled: {pooled!r})"


def _summary(results: Sequence[Rescored]) -> str:
    counts = Counter(found.state for found in results)
    names: dict[PredictionState, str] = {"same": "same", "differs": "different", "missing": "without predictions"}
    states = ", ".join(f"{count} {names.get(state, state)}" for state, count in sorted(counts.items(), reverse=True))
    return f"{len(results)} {'cell' if len(results) == 1 else 'cells'} scored again: {states}"
