"""`sg-bench report`: tables, figures and page, from the ledger alone."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.cli import options

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection


def report(
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    out: options.Out = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.FineTuningSeeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    pdf: Annotated[bool, typer.Option("--pdf", help="Also draw the figures as PDF, for a paper.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write and print the tables of what is done so far; computes nothing.

    The report in --out covers the whole suite; the options that select a part add a report of that part in its views/.

    Examples: sg-bench report --suite demo; sg-bench report --suite mine.yaml --tasks ncs --out s3://bucket/report
    """
    from sg_bench.cli.printing import print_report, summary_json
    from sg_bench.cli.selection import select

    selection = select(
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
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        code = print_report(selection)
        if pdf:
            _for_paper(selection)
        selection.store()
    if as_json:
        typer.echo(options.json_text(summary_json(selection, code)))
    raise typer.Exit(code)


def _for_paper(selection: Selection) -> None:
    """Draw each figure of the selection as PDF, for a page and for a column."""
    from sg_bench.cli.printing import evidence_of
    from sg_bench.reporting.figures import plots, save_for_paper

    folder = selection.folder / "figures" / "paper"
    for plot in plots(evidence_of(selection), workspace=selection.workspace):
        save_for_paper(plot, folder)
    options.note(f"Figures for a paper: {folder}")
