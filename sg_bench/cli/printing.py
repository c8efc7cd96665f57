"""Writes the reports of a selection and prints its table, from the ledger alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sg_bench.cli import options, scope
from sg_bench.cli.selection import Selection, select
from sg_bench.errors import UsageError
from sg_bench.ledger import DamagedTableError, Ledger, Record, mixed
from sg_bench.planning import Plan
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace

if TYPE_CHECKING:
    from sg_bench.reporting import Cell
    from sg_bench.reporting.evidence import Evidence

PLAIN_WIDTH = 160
"""Characters per line of a table that is printed to a file or a pipe."""


def print_report(selection: Selection) -> int:
    """Write the report's files and print its table, its claims, where the files are, and what is missing or failed.

    Cells with a damaged table are left out, in one line each.

    Returns:
        The exit code of `exit_code`.
    """
    try:
        return print_undamaged(selection)
    except DamagedTableError:  # only now is every table read: a report needs few of them
        return print_undamaged(selection._replace(check_tables=True))


def print_undamaged(selection: Selection) -> int:
    """Write and print the report as `print_report` does.

    Raises:
        DamagedTableError: a table that the report needs is damaged; unless the selection checks tables.
    """
    from rich.console import Console

    from sg_bench.reporting import console_table, main_table

    found = records(selection)
    cells, shown, lines = write_reports(selection, found)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(console_table(main_table(cells, shown), selection.suite.title or selection.suite.name))
    for line in lines:
        typer.echo(line)
    for reason in sorted({cell.missing for cell in selection.plan.cells if cell.missing}):
        typer.echo(f"Missing: {selection.plan.with_paths(reason)}", err=True)
    errors = {r["error"]["message"]: r["error"]["kind"] for r in found.values() if r["status"] == "failed"}
    for message, kind in errors.items():
        again = " To try once more, add --retry-failed" if kind == "method" else ""
        typer.echo(f"Failed ({kind}): {message.rstrip('.')}.{again}", err=True)
    return exit_code(selection, found)


def write_reports(
    selection: Selection, found: dict[str, Record], note: Callable[[str], None] = options.note
) -> tuple[Sequence[Cell], dict[str, Record], list[str]]:
    """Write the reports of the suite and of the selection; return what to print: cells, records, lines.

    `note` takes one line for people, on which reports were written.
    """
    scope.check_folder(selection)
    kept, covered, lines = _suite_report(selection)
    if not selection.view and not kept:
        return covered.cells, covered.records, lines
    cells = selection.plan.cells
    lines = notes(selection.plan, cells, found, selection.workspace)
    if selection.view and found:
        lines = _write(selection.folder, selection.plan.suite, selection.plan, cells, found, selection.workspace)
    if kept:
        note(f"Kept as it was: the report in {selection.out}. {kept}")
    else:
        done = f"{len(covered.records)} of {len(covered.cells)} cells"
        own = f"its report is in {selection.folder}" if found else "nothing of it is done"
        note(f"Selection {selection.view}: {own}; that of the suite ({done}) is in {selection.out}")
    return cells, found, lines


def _suite_report(selection: Selection) -> tuple[str, scope.Scope, list[str]]:
    """Write the suite's report where it loses nothing; return why it was kept as it was, its scope, and its lines."""
    out, workspace = selection.out, selection.workspace
    planned, nothing = selection.plan, dict[str, Record]()
    try:
        covered = scope.report_scope(selection)
    except UsageError as error:  # a part of the suite that was not selected cannot be planned
        return str(error), scope.Scope(planned.suite, planned, list(planned.cells), nothing, 0), []
    if not covered.records and any((out / "cells").glob("*.json")):
        hint = "name the workspace with --work, or another folder with --out"
        return f"{workspace.shown} has none of its cells; {hint}", covered, []
    if covered.lost:
        hint = f"sg-bench merge {out} --into {workspace.shown} adds them; or name another folder with --out"
        return f"{workspace.shown} lacks {covered.lost} of its finished cells; {hint}", covered, []
    lines = _write(out, covered.suite, covered.plan, covered.cells, covered.records, workspace)
    scope.remember(selection, covered.suite)
    return "", covered, lines


def _write(
    out: Path,
    suite: Suite,
    planned: Plan,
    cells: Sequence[Cell],
    found: dict[str, Record],
    workspace: Workspace,
) -> list[str]:
    """Write one report and return the lines to print below its table."""
    from sg_bench.reporting import report as write

    cautions = notes(planned, cells, found, workspace)
    finished = Ledger(workspace).finished()
    claims = write(out, suite, cells, found, notes=cautions, workspace=workspace, others=finished)
    return [*cautions, *claims, f"Results: {out / 'tables' / 'main.md'}, and {out / 'report.html'} for a browser"]


def records(selection: Selection) -> dict[str, Record]:
    """Return the ledger's records of the plan's cells, by key."""
    ledger = selection.ledger
    found = {cell.key: ledger.get(cell.key) for cell in selection.plan.cells if cell.key}
    return {key: record for key, record in found.items() if record}


def evidence_of(selection: Selection) -> Evidence:
    """Return the plan's cells with their records."""
    from sg_bench.reporting.evidence import Evidence

    return Evidence(selection.plan.cells, records(selection), selection.workspace.path("cells"))


def evidence_of_suite(
    suite: str, work: str | None, settings: list[str], data: list[str], data_root: Path | None = None
) -> Evidence | None:
    """Return the cells of a suite with their records, as the options name them; None without a suite.

    Raises:
        UsageError: there are options for a suite, but no suite.
    """
    if suite:
        return evidence_of(select(suite, work=work, data=data, data_root=data_root, settings=settings))
    given = [name for name, value in (("--set", settings), ("--data", data), ("--data-root", data_root)) if value]
    if given:
        raise UsageError(f"{' and '.join(given)} would have no effect without --suite", hint="Add --suite NAME")
    return None


def notes(planned: Plan, cells: Iterable[Cell], found: dict[str, Record], workspace: Workspace) -> list[str]:
    """Return the cautions of the suite and its tasks, and the conflicts among the records of its cells."""
    from sg_bench.reporting.contents import label_cautions

    named = Ledger(workspace).conflicts()
    conflicts = [name for cell in cells for name in named.get(cell.key, [])]
    lines = [f"Conflict: a cell was computed again with another outcome: cells/{name}" for name in conflicts]
    lines += [f"Conflict: these cells stand on different outputs of one recipe: {name}" for name in mixed(found)]
    warnings = [f"Warning: {line}" for line in (*planned.warnings, *label_cautions(planned, workspace))]
    return list(dict.fromkeys([*planned.suite.notes, *(t.note for t in planned.tasks if t.note), *warnings, *lines]))


def summary_json(selection: Selection, code: int) -> dict[str, Any]:
    """Return the number of cells in each state, the folder of the report, and the exit code, for programs."""
    found = records(selection)
    states = Counter(
        found[cell.key]["status"] if cell.key in found else "missing" if cell.missing else "to_compute"
        for cell in selection.plan.cells
    )
    counts = {state: states[state] for state in ("done", "failed", "to_compute", "missing")}
    return {"cells": counts, "report": str(selection.folder), "exit_code": code}


def exit_code(selection: Selection, found: dict[str, Record]) -> int:
    """Return 0 if all cells are done, 1 if some failed or are not yet run, 3 if data are missing or damaged."""
    kinds = {record["error"]["kind"] for record in found.values() if record["status"] == "failed"}
    absent = any(cell.missing for cell in selection.plan.cells)
    unfinished = any(cell.key not in found for cell in selection.plan.cells if not cell.missing)
    if kinds - {"data"} or (unfinished and not kinds):
        return 1
    return 3 if absent or kinds else 0
