"""`sg-bench doctor`: whether this machine, its storage and the cluster can run a suite."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from sg_bench.cli import options


def doctor(
    work: options.Work = None,
    backend: Annotated[Literal["local", "ray"], typer.Option(help="ray: also ask every node.")] = "local",
    ray_address: Annotated[str, typer.Option(help="local, auto or HOST:PORT; implies --backend ray.")] = "",
    as_json: options.Json = False,
) -> None:
    """Look for what would stop or slow a run, with what to do about it.

    Versions, cores, memory, disk, whether files and locks of the workspace work, GPUs, and on a cluster what every
    node sees. Exit codes: 0 nothing would stop a run, 1 something would.

    Examples: sg-bench doctor --work /shared/work; sg-bench doctor --ray-address auto --work /shared/work --json
    """
    from sg_bench.running.doctor import examine
    from sg_bench.workspace import Workspace

    workspace = Workspace(work) if work else Workspace.default()
    found = []
    for each in examine(workspace, backend="ray" if ray_address else backend, ray_address=ray_address or "local"):
        found.append(each)
        if not as_json:
            typer.echo(f"{each.grade:<8} {each.what:<24} {each.found}{f'. {each.fix}' if each.fix else ''}")
    problems = sum(each.grade == "problem" for each in found)
    code = 1 if problems else 0
    if as_json:
        typer.echo(options.json_text({"findings": [each._asdict() for each in found], "exit_code": code}))
    else:
        warnings = sum(each.grade == "warning" for each in found)
        typer.echo(f"{problems} problems, {warnings} warnings")
    raise typer.Exit(code)
