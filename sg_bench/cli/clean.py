"""`sg-bench clean`: what of a workspace may be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.cli import options
from sg_bench.errors import DataError

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection


def clean(
    suites: Annotated[
        list[str], typer.Option("--suite", help="What this suite needs is kept; a name or .yaml file; repeatable.")
    ],
    work: options.Work = None,
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed.")] = False,
    as_json: options.Json = False,
) -> None:
    """List what may be deleted from the workspace, with its size and the reason; delete it with --yes.

    What these suites, finished cells or runs that are alive need is kept, and so are records, published weights,
    measurements, and the checkpoints that the suites' next run continues from.

    Examples: sg-bench clean --suite demo; sg-bench clean --suite mine.yaml --suite full --data-root /scans --yes
    """
    from sg_bench.cli.selection import select
    from sg_bench.planning import delete, leftovers, shown_bytes

    chosen = [select(name, work=work, data=data, data_root=data_root, settings=settings) for name in suites]
    options.need_folder(chosen[0].workspace, "Delete what you do not need with the tools of that storage")
    for selection in chosen:
        _check_complete(selection)
    workspace = chosen[0].workspace
    found = leftovers([selection.plan for selection in chosen], workspace)
    deleted = {each.path: delete(workspace, each) for each in found} if yes else {}
    if as_json:
        rows = [
            {
                "path": str(each.path.relative_to(workspace.root)),
                "bytes": each.bytes,
                "why": each.why,
                "deleted": deleted.get(each.path, False),
            }
            for each in found
        ]
        typer.echo(options.json_text({"workspace": str(workspace.root), "leftovers": rows}))
        return
    for each in found:
        kept = "  KEPT: a process uses it" if yes and not deleted[each.path] else ""
        typer.echo(f"{shown_bytes(each.bytes):>8}  {each.path.relative_to(workspace.root)}  {each.why}{kept}")
    total = sum(each.bytes for each in found if not yes or deleted[each.path])
    count = sum(deleted.values()) if yes else len(found)
    what = "deleted" if yes else "may be deleted; --yes deletes them" if found else "may be deleted"
    typer.echo(f"{count} files and folders, {shown_bytes(total)}, {what}")


def _check_complete(selection: Selection) -> None:
    """Refuse a suite of which not everything can be planned: what the rest needs is not known.

    Raises:
        DataError: names what is missing.
    """
    for cell in selection.plan.cells:
        if cell.missing:
            reason = selection.plan.with_paths(cell.missing)
            raise DataError(f"suite {selection.suite.name}: what it needs is not known: {reason}")
