"""`sg-bench status`: what is done, failed and missing, and why."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from sg_bench.cli import options
from sg_bench.cli.report import exit_code, records
from sg_bench.ledger import Ledger
from sg_bench.planning import PlannedCell, why_missing


def status(
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.Seeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    settings: options.Set = [],  # noqa: B006 - likewise
    why: Annotated[bool, typer.Option("--why", help="For each cell to compute, which settings differ.")] = False,
) -> None:
    """Print how many cells of each method and task are done."""
    selection = options.select(
        suite,
        work=work,
        methods=methods,
        tasks=tasks,
        seeds=seeds,
        pretraining_seeds=pretraining_seeds,
        data=data,
        settings=settings,
    )
    found = records(selection)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in selection.plan.cells:
        state = found[cell.key]["status"] if cell.key in found else "missing" if cell.missing else "to compute"
        counts.setdefault((cell.method, cell.task), Counter())[state] += 1
        if why and state != "done":
            _explain(selection, cell, found[cell.key]["error"]["message"] if state == "failed" else "")
    for (method, task), states in counts.items():
        typer.echo(f"{method:<24} {task:<32} {', '.join(f'{n} {state}' for state, n in sorted(states.items()))}")
    raise typer.Exit(exit_code(selection))


def _explain(selection: options.Selection, cell: PlannedCell, error: str) -> None:
    name = f"{cell.method} on {cell.task}, seeds {cell.pretraining_seed}/{cell.fine_tuning_seed}"
    if cell.missing or error:
        typer.echo(f"{name}: {cell.missing or error}")
        return
    lines = why_missing(selection.plan.jobs[cell.key], Ledger(selection.workspace))
    typer.echo(f"{name}: not computed; the most similar finished cell differs in {'; '.join(lines[:3])}")
