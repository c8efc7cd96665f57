"""Finds and parses the commands in configurations and guides."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml

from sg_bench.cli import app

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "ray_configs"
PLACE = re.compile(r"(?:^\s*(?:#\s{2,})?|\s-- )(?=sg-bench )")
"""Where a command of a configuration starts: a line, also of an example in a comment, or after `ray job submit --`."""


def commands(path: Path) -> list[list[str]]:
    """Return the `sg-bench` commands of a configuration, each as its words; a command's own line may be continued."""
    text = re.sub(r"\s*\\\n\s*", " ", path.read_text())
    lines = [line[found.end() :] for line in text.splitlines() if (found := PLACE.search(line))]
    if path.suffix == ".yaml":
        first = next(iter(yaml.safe_load_all(text)))
        entrypoint = first.get("spec", {}).get("entrypoint")
        lines = [
            *(line for line in lines if not (entrypoint or "").startswith(line)),
            *([entrypoint] if entrypoint else []),
        ]
    return [words(line) for line in lines]


def words(line: str) -> list[str]:
    """Return a command's words after `sg-bench`, without a comment, further options `"$@"` and `&`."""
    return [word for word in shlex.split(line.replace('"$@"', ""), comments=True) if word != "&"][1:]


@cache
def _command_line() -> Any:
    """Return the command line, which takes as long to build as hundreds of commands to parse."""
    return typer.main.get_command(app)


def parse(arguments: list[str]) -> dict[str, Any]:
    """Return the values of a command's options, as the command line itself parses them; nothing is run.

    Raises:
        Exception: the command, an option or a value does not exist.
    """
    command = _command_line()
    context = command.make_context("sg-bench", list(arguments))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return dict(context.params)
