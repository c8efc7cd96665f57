"""`sg-bench status`: what is done, failed and missing, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.cli import options
from sg_bench.errors import DataError

INCOMPLETE = "The scores stand, but cannot be computed from them again; without cells/KEY.json, run computes the cell"
"""What it means that a finished cell has no predictions."""

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection
    from sg_bench.ledger import Record
    from sg_bench.planning import Job, PlannedCell


def status(
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.FineTuningSeeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    why: Annotated[bool, typer.Option("--why", help="For each cell to compute, which settings differ.")] = False,
) -> None:
    """Print how many cells of each method and task are done.

    Changes nothing. Exit codes: 0 all done, 1 some failed or not computed, 3 data or predictions missing or damaged.
    """
    from sg_bench.cli.printing import exit_code, records
    from sg_bench.cli.selection import select
    from sg_bench.ledger import Ledger

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
    found = records(selection)
    finished = list(Ledger(selection.workspace).finished()) if why else []
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in selection.plan.cells:
        state = found[cell.key]["status"] if cell.key in found else "missing" if cell.missing else "to compute"
        counts.setdefault((cell.method, cell.task), Counter())[state] += 1
        if why and state != "done":
            error = found[cell.key]["error"]["message"] if state == "failed" else ""
            _explain(
                cell,
                error
                or selection.plan.with_paths(cell.missing or "")
                or _difference(selection.plan.jobs[cell.key], finished),
            )
    for (method, task), states in counts.items():
        typer.echo(f"{method:<24} {task:<32} {', '.join(f'{n} {state}' for state, n in sorted(states.items()))}")
    incomplete = _without_predictions(selection, found)
    raise typer.Exit(exit_code(selection, found) or (DataError.exit_code if incomplete else 0))


def _without_predictions(selection: Selection, found: dict[str, Record]) -> bool:
    """Print which predictions of finished cells are missing or cut off; return whether any are."""
    from sg_bench.ledger.copies import predictions_problem

    problems: dict[str, list[str]] = {}
    for key, record in found.items():
        if record["status"] == "done" and record.get("outputs", {}).get("predictions"):
            problems.setdefault(predictions_problem(selection.workspace, record), []).append(f"{key}.npz")
    problems.pop("", None)
    for problem, names in problems.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        typer.echo(f"Predictions {problem}: predictions/{names[0]}{more}. {INCOMPLETE}", err=True)
    return bool(problems)


def _explain(cell: PlannedCell, reason: str) -> None:
    typer.echo(f"{cell.method} on {cell.task}, seeds {cell.pretraining_seed}/{cell.fine_tuning_seed}: {reason}")


def _difference(job: Job, finished: list[Record]) -> str:
    from sg_bench.planning import why_missing

    lines = why_missing(job, finished)
    if not finished:
        return f"not computed; {lines[0]}"
    more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
    return f"not computed; the most similar finished cell differs in {'; '.join(lines[:3])}{more}"
