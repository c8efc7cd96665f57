"""`sg-bench new`: the beginning of a method of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Begin a method of your own.", no_args_is_help=True)


@app.callback()
def new() -> None:
    """Begin a method of your own."""


@app.command("method")
def method(
    name: Annotated[str, typer.Argument(help="What suites will call it, such as my_method.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where the package's folder is made.")] = Path(),
) -> None:
    """Write an installable package with one working method, its settings and its tests.

    Example: sg-bench new method my_method --into ~/code
    """
    from sg_bench.testing.scaffold import new_method

    folder = new_method(name, into.expanduser())
    typer.echo(f"{folder} holds the method '{name}', which restores noise until you change it. Next:")
    typer.echo(f"  pip install -e {folder}")
    typer.echo(f"  sg-bench check plugin {name}")
