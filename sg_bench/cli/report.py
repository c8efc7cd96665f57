"""`sg-bench report`: the tables, from the ledger alone."""

from __future__ import annotations

import typer

from sg_bench.cli import options
from sg_bench.ledger import Ledger, Record, mixed

PLAIN_WIDTH = 160
"""Characters a line of a table that is printed into a file or a pipe."""


def report(
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    out: options.Out = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.Seeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
) -> None:
    """Write and print the tables of what is done so far; computes nothing."""
    selection = options.select(
        suite,
        work=work,
        out=out,
        methods=methods,
        tasks=tasks,
        seeds=seeds,
        pretraining_seeds=pretraining_seeds,
        data=data,
        data_root=data_root,
        settings=settings,
    )
    raise typer.Exit(print_report(selection))


def print_report(selection: options.Selection) -> int:
    """Write the report's files and print its table, its verdicts, where it lies, and what is missing or failed.

    Returns:
        The exit code of `exit_code`.
    """
    from rich.console import Console

    from sg_bench.reporting import console_table, main_table

    suite, found = selection.plan.suite, records(selection)
    cautions = notes(selection, found)
    told = _written(selection, found, cautions)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(console_table(main_table(selection.plan.cells, found), suite.title or suite.name))
    for line in (*cautions, *told):
        typer.echo(line)
    for reason in sorted({cell.missing for cell in selection.plan.cells if cell.missing}):
        typer.echo(f"Missing: {selection.plan.with_paths(reason)}", err=True)
    errors = {r["error"]["message"]: r["error"]["kind"] for r in found.values() if r["status"] == "failed"}
    for message, kind in errors.items():
        again = " To try once more, add --retry-failed" if kind == "method" else ""
        typer.echo(f"Failed ({kind}): {message.rstrip('.')}.{again}", err=True)
    return exit_code(selection, found)


def _written(selection: options.Selection, found: dict[str, Record], cautions: list[str]) -> list[str]:
    """Write the report and return what is to be said of it; one of other cells is never replaced by an empty one."""
    from sg_bench.reporting import report as write

    out, workspace = selection.out, selection.workspace
    if not found and any((out / "cells").glob("*.json")):
        typer.echo(
            f"Kept as it was: the report in {out}. {workspace.root} has none of its cells; "
            "name the workspace with --work, or another folder with --out",
            err=True,
        )
        return []
    told = write(
        out,
        selection.plan.suite,
        selection.plan.cells,
        found,
        notes=cautions,
        workspace=workspace,
        others=Ledger(workspace).finished(),
    )
    return [*told, f"Results: {out / 'tables' / 'main.md'}, and {out / 'report.html'} for a browser"]


def records(selection: options.Selection) -> dict[str, Record]:
    """Return the ledger's records of the plan's cells, by key."""
    ledger = Ledger(selection.workspace)
    found = {cell.key: ledger.get(cell.key) for cell in selection.plan.cells if cell.key}
    return {key: record for key, record in found.items() if record}


def notes(selection: options.Selection, found: dict[str, Record]) -> list[str]:
    """Return the suite's and its tasks' cautions, and any conflict in the ledger; `found` are the plan's records."""
    named = Ledger(selection.workspace).conflicts()
    conflicts = [name for cell in selection.plan.cells for name in named.get(cell.key, [])]
    told = [f"Conflict: a cell was computed again with another outcome: cells/{name}" for name in conflicts]
    told += [f"Conflict: these cells stand on different outputs of one recipe: {name}" for name in mixed(found)]
    return list(dict.fromkeys([*selection.plan.suite.notes, *(t.note for t in selection.plan.tasks if t.note), *told]))


def exit_code(selection: options.Selection, found: dict[str, Record]) -> int:
    """Return 0 if all cells are done, 1 if some failed or are not yet run, 3 if data are missing or damaged."""
    kinds = {record["error"]["kind"] for record in found.values() if record["status"] == "failed"}
    absent = any(cell.missing for cell in selection.plan.cells)
    unfinished = any(cell.key not in found for cell in selection.plan.cells if not cell.missing)
    if kinds - {"data"} or (unfinished and not kinds):
        return 1
    return 3 if absent or kinds else 0
