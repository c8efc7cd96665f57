"""`sg-bench plan`: what a suite would compute, without computing it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from sg_bench.cli import options

if TYPE_CHECKING:
    from sg_bench.recipes import RecipeKind

KINDS: dict[RecipeKind, str] = {
    "store": "data stores",
    "patterns": "self-discoveries",
    "initialisation": "initialisations",
    "cell": "cells",
}


def plan(
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.FineTuningSeeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
) -> None:
    """Print how many stores, pretrainings and cells a suite takes, and what is done, missing or still to compute."""
    from sg_bench.cli.selection import select

    selection = select(
        suite,
        work=work,
        methods=methods,
        tasks=tasks,
        seeds=seeds,
        pretraining_seeds=pretraining_seeds,
        data=data,
        data_root=data_root,
        settings=settings,
    )
    planned, pending = selection.plan, selection.plan.pending(selection.workspace)
    wanted = Counter(job.kind for job in pending)
    typer.echo(f"{planned.suite.name}: {planned.suite.title}".rstrip(": "))
    lacking = sum(cell.missing is not None for cell in planned.cells)
    for kind, name in KINDS.items():
        count = len(planned.of_kind(kind)) + (lacking if kind == "cell" else 0)
        absent = f" {lacking:>5} missing" if lacking and kind == "cell" else ""
        typer.echo(f"{name:<17} {count:>5} planned {wanted[kind]:>5} to compute{absent}")
    typer.echo("")
    counts = Counter((cell.method, cell.task, cell.missing) for cell in planned.cells)
    for (method, task, missing), count in counts.items():
        typer.echo(
            f"{method:<24} {task:<32} {count:>4} cells{f'  MISSING: {planned.with_paths(missing)}' if missing else ''}"
        )
    raise typer.Exit(3 if any(cell.missing for cell in planned.cells) else 0)
