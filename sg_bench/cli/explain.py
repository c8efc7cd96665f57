"""`sg-bench explain`: the origin of a score."""

from __future__ import annotations

from typing import Annotated

import typer

from sg_bench.cli import options


def explain(
    cell: Annotated[str, typer.Argument(help="Six or more digits of a key, method/task, or method/task/0/3.")],
    suite: Annotated[str, typer.Option("--suite", help="Only cells of this suite, by its names.")] = "",
    work: options.RecordsFolder = None,
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    as_json: options.Json = False,
) -> None:
    """Print the origin of a score: seeds, settings, digests of outputs, code, machine, time and memory.

    Where a workspace holds several results of one method and task, --suite selects that of the suite.

    Examples: sg-bench explain 0d695f; sg-bench explain semantic_genesis/ncs --work results/demo;
    sg-bench explain scratch/lcs/0/1 --suite demo
    """
    from sg_bench.cli.printing import evidence_of_suite
    from sg_bench.cli.selection import opened
    from sg_bench.reporting.explain import as_text, read_and_explain

    evidence = evidence_of_suite(suite, work, settings, data, data_root)
    sections = read_and_explain(opened(work).root, cell, evidence)
    if as_json:
        named = [{"title": section.title, "lines": dict(section.lines)} for section in sections]
        typer.echo(options.json_text({"sections": named}))
        return
    typer.echo(as_text(sections), nl=False)
