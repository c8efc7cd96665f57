"""`sg-bench export`: results to trackers of experiments, as tidy tables, and as references."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.cli import options
from sg_bench.errors import UsageError
from sg_bench.workspace import is_url

if TYPE_CHECKING:
    from sg_bench.interface import Results


def export(
    folder: Annotated[
        Path | None, typer.Argument(help="A results folder or a workspace; else the suite's own results.")
    ] = None,
    to: Annotated[
        list[str], typer.Option("--to", help="tensorboard, mlflow, wandb, parquet, csv or bibtex; repeatable.")
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    out: Annotated[
        str | None,
        typer.Option("--out", help="A folder; with mlflow also a server's address. Else exports/ of the report."),
    ] = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.FineTuningSeeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - likewise
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    as_json: options.Json = False,
) -> None:
    """Export results to a tracker of experiments, as tidy tables with a data dictionary, or as references.

    Nothing leaves this machine, unless --out is a server's address. What was exported before is only written again if
    it has changed.

    Examples: sg-bench export --to tensorboard; sg-bench export results/demo --to parquet --to bibtex --out exported
    """
    from sg_bench.reporting.exports.export import FORMATS, check_format

    if not to:
        raise UsageError("no --to is given", hint=f"Add one, or several, of: --to {', --to '.join(FORMATS)}")
    for each in to:
        check_format(each)
    if out and is_url(out) and to != ["mlflow"]:
        raise UsageError(f"--out {out}: only mlflow exports to an address", hint="Name a folder")
    if folder is not None:
        from sg_bench.interface import load_results

        results = load_results(folder)
    else:
        results = _of_suite(
            suite=suite,
            work=work,
            methods=methods,
            tasks=tasks,
            seeds=seeds,
            pretraining_seeds=pretraining_seeds,
            data=data,
            data_root=data_root,
            settings=settings,
        )
    done = []
    for each in to:
        place = out if out is None or len(to) == 1 else str(Path(out) / each)
        done.append(results.export(each, place))
        if not as_json:
            typer.echo(f"{each}: {done[-1].runs} exported, {done[-1].added} of them new, to {done[-1].out}")
            typer.echo(f"  {done[-1].hint}")
    if as_json:
        typer.echo(options.json_text({"exports": [asdict(each) for each in done]}))


def _of_suite(
    *,
    suite: str,
    work: str | None,
    methods: str,
    tasks: str,
    seeds: str,
    pretraining_seeds: str,
    data: list[str],
    data_root: Path | None,
    settings: list[str],
) -> Results:
    """Return the results of the selected part of a suite."""
    from sg_bench.cli.printing import evidence_of
    from sg_bench.cli.selection import select
    from sg_bench.interface import Results

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
    chosen = selection.plan.suite
    title = chosen.title or chosen.name
    return Results(evidence_of(selection), title, workspace=selection.workspace, suite=chosen, folder=selection.folder)
