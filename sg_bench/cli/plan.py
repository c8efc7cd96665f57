"""`sg-bench plan`: what a suite would compute and what that would cost, without computing it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sg_bench.cli import options
from sg_bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection
    from sg_bench.planning import Job, Machines
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
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read every case, to find what names and headers do not show.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="First measure, in short real runs, what is not known.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at once; else --cpus, or the cores.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores of the machine or cluster; else this one's.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs, likewise.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of the cluster.")] = 1,
    hardware: Annotated[str, typer.Option(help="Hardware of the nodes, as it was measured; else this one's.")] = "",
    budget_hours: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Also print which cells fit into so many hours.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print how many stores, pretrainings and cells a suite takes, what is done, and what the rest costs.

    The price stands on measurements of this hardware (--measure) and on what finished jobs took on it. Lists, parts,
    classes, crops and label values that do not fit the data are named here; exit code 2 or 3.

    Examples: sg-bench plan --suite demo --measure; sg-bench plan --suite full --gpus 8 --cpus 64 --budget-hours 48
    """
    from sg_bench.cli.pricing import machines_of, price_json, print_budget, print_price
    from sg_bench.cli.selection import select
    from sg_bench.planning import portions, price

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
    for line in planned.warnings:
        options.note(f"warning: {planned.with_paths(line)}")
    damaged = deep and _read_all(selection, jobs)
    where = machines_of(selection, hardware=hardware, jobs=jobs, cpus=cpus, gpus=gpus, nodes=nodes)
    if measure:
        _measure(selection, pending, where, hardware=hardware)
    found = price(planned, pending, selection.workspace, where)
    order = [] if budget_hours is None else portions(planned, found, budget_hours)
    if as_json:
        typer.echo(options.json_text({**_json(selection, pending), **price_json(found, order, budget_hours)}))
    else:
        _print(selection, pending)
        print_price(selection, suite, found)
        if budget_hours is not None:
            print_budget(suite, found, order, budget_hours)
    raise typer.Exit(DataError.exit_code if damaged or any(cell.missing for cell in planned.cells) else 0)


def _read_all(selection: Selection, jobs: int | None) -> bool:
    """Read all cases and print what that shows; return whether anything is an error."""
    from sg_bench.running.contents import read_plan

    found = read_plan(selection.plan, jobs=jobs, log=options.note)
    for kind, lines in (("error", found.errors), ("warning", found.warnings)):
        for line in lines:
            options.note(f"{kind}: {line}")
    return bool(found.errors)


def _measure(selection: Selection, pending: list[Job], where: Machines, *, hardware: str) -> None:
    """Measure what nothing is known of, and print what could not be measured."""
    from sg_bench.planning import unmeasured
    from sg_bench.running.measuring import measure

    if hardware:
        raise UsageError("--measure measures this machine", hint="Leave --hardware out, or run it on such a node")
    wanted = unmeasured(selection.plan, pending, selection.workspace, where.hardware)
    if wanted:
        processes = min(where.slots, where.cores)
        for line in measure(wanted, selection.workspace, processes=processes, log=options.note):
            options.note(line)


def _print(selection: Selection, pending: list[Job]) -> None:
    planned, wanted = selection.plan, Counter(job.kind for job in pending)
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


def _json(selection: Selection, pending: list[Job]) -> dict[str, Any]:
    planned, wanted = selection.plan, Counter(job.kind for job in pending)
    lacking = [cell for cell in planned.cells if cell.missing]
    counts = {kind: {"planned": len(planned.of_kind(kind)), "to_compute": wanted[kind]} for kind in KINDS}
    counts["cell"]["planned"] += len(lacking)
    counts["cell"]["missing"] = len(lacking)
    reasons = sorted({planned.with_paths(cell.missing or "") for cell in lacking})
    return {"suite": planned.suite.name, "jobs": counts, "missing": reasons, "warnings": planned.warnings}
