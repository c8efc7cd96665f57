"""`sg-bench merge`: one ledger from those of several people or machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sg_bench.cli import options


def merge(
    sources: Annotated[list[str], typer.Argument(metavar="FROM...", help="Workspaces or results folders; or URLs.")],
    into: Annotated[str, typer.Option("--into", metavar="WORK", help="Workspace that takes it all in; or its URL.")],
    as_json: options.Json = False,
) -> None:
    """Bring the finished cells of other workspaces, or results folders, into one workspace.

    What two of them have counts once; two outcomes under one key are named, the first stays. Exit code 1 if a file
    was damaged and so left out.

    Examples: sg-bench merge /mnt/alice/.sg-bench results/bob --into .sg-bench; sg-bench merge s3://bucket/w --into here
    """
    from sg_bench.cli.selection import opened
    from sg_bench.ledger import merge as merge_ledgers
    from sg_bench.ledger.copies import pull_everything
    from sg_bench.workspace import is_url

    folders = [pull_everything(opened(source)) if is_url(source) else Path(source) for source in sources]
    merged = merge_ledgers(folders, opened(into))
    code = 1 if merged.damaged else 0
    if as_json:
        names = ("added", "known", "predictions", "initialisations")
        found = {name: getattr(merged, name) for name in names}
        lists = {
            "conflicts": [str(each) for each in merged.conflicts],
            "damaged": [str(each) for each in merged.damaged],
        }
        typer.echo(options.json_text({**found, **lists, "exit_code": code}))
        raise typer.Exit(code)
    typer.echo(f"{merged.added} cells added, {merged.known} known already, {len(merged.conflicts)} conflicts")
    typer.echo(f"{merged.predictions} predictions and {merged.initialisations} initialisations copied")
    for conflict in merged.conflicts:
        typer.echo(f"Conflict: {conflict}", err=True)
    for damage in merged.damaged:
        typer.echo(f"Skipped: {damage}", err=True)
    raise typer.Exit(code)
