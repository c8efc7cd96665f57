"""What all commands have in common: -q and -v, and examples below the help, one a line."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer.models import CommandInfo

_log = logging.getLogger("sg_bench")


def set_quiet(given: bool) -> None:
    """Print only results, warnings and errors."""
    if given:
        _log.setLevel(logging.WARNING)


def set_verbose(given: bool) -> None:
    """Also print what a command does, and where an error came from."""
    if given:
        _log.setLevel(logging.DEBUG)
        logging.basicConfig(format="%(name)s: %(message)s")


def reset() -> None:
    """Print results, warnings, errors and notes, as without -q and -v."""
    _log.setLevel(logging.INFO)


Quiet = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", expose_value=False, callback=set_quiet, help="Print only results, warnings and errors."
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", expose_value=False, callback=set_verbose, help="Also print each step, and where errors are."
    ),
]


def _common(quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Hold the options that every command has."""


@cache
def _common_options() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_common)
    parameters: list[Any] = typer.main.get_command(app).params
    return parameters


class Verb(TyperCommand):
    """A command with -q and -v."""

    def __init__(self, name: str | None, *, params: list[Any] | None = None, **others: Any) -> None:
        super().__init__(name, params=[*(params or []), *_common_options()], **others)


def complete(app: typer.Typer) -> None:
    """Give every command of an app, and of the groups within, what all commands have."""
    for command in app.registered_commands:
        _complete(command)
    for group in app.registered_groups:
        if group.typer_instance:
            complete(group.typer_instance)


def _complete(command: CommandInfo) -> None:
    """Set the class, the help and the examples of a command from the docstring of its function.

    A docstring has a paragraph "Examples: COMMAND; COMMAND", which is printed at the end, one command a line.
    """
    command.cls = Verb
    text = (command.callback.__doc__ or "") if command.callback else ""
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    examples = [each.removeprefix("Examples: ") for each in paragraphs if each.startswith("Examples: ")]
    command.help = "\n\n".join(each for each in paragraphs if each and not each.startswith("Examples: "))
    lines = [line for each in examples for line in each.split("; ")]
    command.epilog = "\n\n".join(["Examples:", *lines]) if lines else None
