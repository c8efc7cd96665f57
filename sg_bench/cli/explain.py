"""`sg-bench explain`: the origin of a score."""

from __future__ import annotations

from typing import Annotated

import typer

from sg_bench.cli import options


def explain(
    cell: Annotated[str, typer.Argument(help="Six or more digits of a key, method/task, or method/task/0/3.")],
    work: options.RecordsFolder = None,
    as_json: options.Json = False,
) -> None:
    """Print the origin of a score: seeds, settings, digests of outputs, code, machine, time and memory.

    Examples: sg-bench explain 0d695f; sg-bench explain semantic_genesis/ncs --work results/demo
    """
    from sg_bench.cli.selection import opened
    from sg_bench.reporting.explain import as_text, read_and_explain

    sections = read_and_explain(opened(work).root, cell)
    if as_json:
        named = [{"title": section.title, "lines": dict(section.lines)} for section in sections]
        typer.echo(options.json_text({"sections": named}))
        return
    typer.echo(as_text(sections), nl=False)
