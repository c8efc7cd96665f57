"""`sg-bench retry`: let the next run compute failed cells again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sg_bench.cli import options

if TYPE_CHECKING:
    from sg_bench.ledger import Record


def retry(
    suite: options.SuiteName = "demo",
    failed: Annotated[
        Literal["infrastructure", "method", "data", "all"], typer.Option("--failed", help="Which failures.")
    ] = "all",
    work: options.Work = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.FineTuningSeeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print which cells.")] = False,
    as_json: options.Json = False,
) -> None:
    """Set the records of failed cells aside, in the workspace's retried/, so that the next run computes them.

    Failures of the infrastructure and of the data are tried again by every run; a method's only after this command, or
    with run --retry-failed.

    Examples: sg-bench retry --suite demo --failed method --dry-run; sg-bench retry --suite mine.yaml --methods rotation
    """
    from sg_bench.cli.printing import records
    from sg_bench.cli.selection import select
    from sg_bench.planning import RETRIED

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
    if not dry_run:
        options.need_folder(selection.workspace, "Use sg-bench run --retry-failed")
    kinds = {"infrastructure", "method", "data"} if failed == "all" else {failed}
    found = {
        key: record
        for key, record in records(selection).items()
        if record["status"] == "failed" and record["error"]["kind"] in kinds
    }
    if not dry_run:
        found = {key: record for key, record in found.items() if selection.ledger.withdraw(key, RETRIED)}
    if as_json:
        rows = [{"key": key, "title": selection.plan.jobs[key].title, **_error(found[key])} for key in found]
        typer.echo(options.json_text({"cells": rows, "set_aside": not dry_run}))
        return
    for key, record in found.items():
        error = _error(record)
        typer.echo(f"{selection.plan.jobs[key].title} ({error['kind']}): {error['message']}")
    what = "would be set aside" if dry_run else "set aside; sg-bench run computes them"
    typer.echo(f"{len(found)} failed cells {what if found else 'of this kind'}")


def _error(record: Record) -> dict[str, str]:
    return {name: record["error"][name] for name in ("kind", "message")}
