"""`sg-bench new`: write the package of a new method, or the card of a new task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sg_bench.cli import options
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
    as_json: options.Json = False,
) -> None:
    """Write an installable package with a working method, its settings and its tests.

    Examples: sg-bench new method my_method; sg-bench new method my_method --into ~/code
    """
    from sg_bench.testing.scaffold import new_method

    folder = new_method(name, into.expanduser())
    printed, following = options.Printed(as_json=as_json), [f"pip install -e {folder}", f"sg-bench check plugin {name}"]
    printed.line(f"{folder} holds the method '{name}', which restores noise until you change it. Next:")
    for command in following:
        printed.line(f"  {command}")
    printed.end(name=name, folder=str(folder), next=following)
