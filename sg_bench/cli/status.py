"""`sg-bench status`: what is done, failed and missing, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sg_bench.cli import options
from sg_bench.errors import DataError

INCOMPLETE = "The scores stand, but cannot be computed from them again; without cells/KEY.json, run computes the cell"
"""What it means that a finished cell has no predictions."""

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection
    from sg_bench.ledger import Record
    from sg_bench.planning import Activity, Job, PlannedCell


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
    as_json: options.Json = False,
) -> None:
    """Print how many cells of each method and task are done, and what runs now.

    Changes nothing. Exit codes: 0 all done, 1 some failed or not computed, 3 data or predictions missing or damaged.

    Examples: sg-bench status --suite demo; sg-bench status --suite mine.yaml --data scans=/scans --why
    """
    from sg_bench.cli.printing import exit_code, records
    from sg_bench.cli.selection import select
    from sg_bench.planning import activity

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
    reasons = _reasons(selection, found) if why else {}
    running = activity(selection.plan, selection.plan.pending(selection.workspace), selection.workspace)
    problems = _without_predictions(selection, found)
    code = exit_code(selection, found) or (DataError.exit_code if problems else 0)
    counts = _counts(selection, found)
    if as_json:
        typer.echo(options.json_text(_json(selection, counts, reasons, running, problems, code)))
        raise typer.Exit(code)
    for cell, reason in reasons.items():
        typer.echo(f"{cell.method} on {cell.task}, seeds {cell.pretraining_seed}/{cell.fine_tuning_seed}: {reason}")
    for (method, task), states in counts.items():
        typer.echo(f"{method:<24} {task:<32} {', '.join(f'{n} {state}' for state, n in sorted(states.items()))}")
    _print_activity(running)
    for problem, names in problems.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        typer.echo(f"Predictions {problem}: predictions/{names[0]}{more}. {INCOMPLETE}", err=True)
    raise typer.Exit(code)


def _state(cell: PlannedCell, found: dict[str, Record]) -> str:
    return found[cell.key]["status"] if cell.key in found else "missing" if cell.missing else "to compute"


def _counts(selection: Selection, found: dict[str, Record]) -> dict[tuple[str, str], Counter[str]]:
    """Return the numbers of cells in each state, by method and task."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in selection.plan.cells:
        counts.setdefault((cell.method, cell.task), Counter())[_state(cell, found)] += 1
    return counts


def _reasons(selection: Selection, found: dict[str, Record]) -> dict[PlannedCell, str]:
    """Return why each cell is not done."""
    from sg_bench.ledger import Ledger

    finished = list(Ledger(selection.workspace).finished())
    reasons = {}
    for cell in selection.plan.cells:
        state = _state(cell, found)
        if state == "failed":
            reasons[cell] = found[cell.key]["error"]["message"]
        elif state != "done":
            missing = selection.plan.with_paths(cell.missing or "")
            reasons[cell] = missing or _difference(selection.plan.jobs[cell.key], finished)
    return reasons


def _print_activity(running: Activity) -> None:
    """Print the runs that are alive, their jobs, the rate and the time left."""
    import time

    from sg_bench.planning import STAGES, shown_duration

    for run in running.runs:
        since = time.strftime("%H:%M:%S", time.localtime(run.began))
        where = f"pid {run.pid} on {run.host}"
        typer.echo(f"Running: suite {run.suite}, since {since}, {run.processes} processes at once ({where})")
    for job, progress in running.jobs:
        part = (
            f", {progress.fraction:.0%} done after {shown_duration(progress.at - progress.began)}" if progress else ""
        )
        typer.echo(f"  {STAGES[job.kind]}: {job.title}{part}")
    if running.runs and running.seconds_left is not None:
        left = shown_duration(running.seconds_left)
        typer.echo(f"  {running.a_minute:.1f} cells a minute, about {left} left at this rate")


def _json(
    selection: Selection,
    counts: dict[tuple[str, str], Counter[str]],
    reasons: dict[PlannedCell, str],
    running: Activity,
    problems: dict[str, list[str]],
    code: int,
) -> dict[str, Any]:
    states = ("done", "failed", "to compute", "missing")
    rows = [
        {"method": method, "task": task, **{state.replace(" ", "_"): found[state] for state in states}}
        for (method, task), found in counts.items()
    ]
    return {
        "suite": selection.plan.suite.name,
        "cells": rows,
        "why": [{**_cell(cell), "reason": reason} for cell, reason in reasons.items()],
        "runs": [
            {name: getattr(run, name) for name in ("id", "suite", "host", "pid", "began", "processes", "pending")}
            for run in running.runs
        ],
        "running": [
            {"key": job.key, "kind": job.kind, "title": job.title, "fraction": part.fraction if part else None}
            for job, part in running.jobs
        ],
        "cells_a_minute": round(running.a_minute, 3),
        "seconds_left": None if running.seconds_left is None else round(running.seconds_left),
        "predictions": problems,
        "exit_code": code,
    }


def _cell(cell: PlannedCell) -> dict[str, Any]:
    names = ("key", "method", "task", "pretraining_seed", "fine_tuning_seed")
    return {name: getattr(cell, name) for name in names}


def _without_predictions(selection: Selection, found: dict[str, Record]) -> dict[str, list[str]]:
    """Return the predictions of finished cells that are missing or cut off, by what is wrong."""
    from sg_bench.ledger.copies import predictions_problem

    problems: dict[str, list[str]] = {}
    for key, record in found.items():
        if record["status"] == "done" and record.get("outputs", {}).get("predictions"):
            problems.setdefault(predictions_problem(selection.workspace, record), []).append(f"{key}.npz")
    problems.pop("", None)
    return problems


def _difference(job: Job, finished: list[Record]) -> str:
    from sg_bench.planning import why_missing

    lines = why_missing(job, finished)
    if not finished:
        return f"not computed; {lines[0]}"
    more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
    return f"not computed; the most similar finished cell differs in {'; '.join(lines[:3])}{more}"
