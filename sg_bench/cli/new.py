"""`sg-bench new`: write the package of a new method, or the card of a new task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sg_bench.cli.init import new_task

app = typer.Typer(help="Write the package of a new method, or the card of a new task.", no_args_is_help=True)
app.command("task")(new_task)


@app.callback()
def new() -> None:
    """Write the package of a new method, or the card of a new task."""


@app.command("method")
def method(
    name: Annotated[str, typer.Argument(help="Its name in suites, such as my_method.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Parent of the package's folder.")] = Path(),
) -> None:
    """Write an installable package with a working method, its settings and its tests.

    Examples: sg-bench new method my_method; sg-bench new method my_method --into ~/code
    """
    from sg_bench.testing.scaffold import new_method

    folder = new_method(name, into.expanduser())
    typer.echo(f"{folder} holds the method '{name}', which restores noise until you change it. Next:")
    typer.echo(f"  pip install -e {folder}")
    typer.echo(f"  sg-bench check plugin {name}")
