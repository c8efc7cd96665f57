"""The reference of the command line, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from sg_bench.cli import app

HEAD = """# Commands

Every command, as `sg-bench COMMAND --help` prints it.
"""


def commands_page() -> str:
    """Return the page: one section for each command with its use, examples, arguments and options."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("sg-bench", [], resilient_parsing=True)
    blocks = [HEAD, group.epilog, *_options(group, context), *_sections(group, context)]
    return "\n\n".join(_plain(block) for block in blocks if block) + "\n"


def _sections(group: Any, context: Any) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        own = command.make_context(name, [], parent=context, resilient_parsing=True)
        yield f"## {own.command_path}" if not hasattr(command, "commands") else f"## {own.command_path} ..."
        yield command.help or ""
        if hasattr(command, "commands"):
            yield command.epilog or ""
            yield from (section.replace("## ", "### ", 1) for section in _sections(command, own))
            continue
        usage = " ".join(command.collect_usage_pieces(own))
        yield f"```text\n{own.command_path} {usage}\n```"
        yield from _examples(command.epilog or "")
        yield from _options(command, own)


def _examples(epilog: str) -> Iterator[str]:
    lines = [line for line in epilog.splitlines() if line.startswith("sg-bench ")]
    if lines:
        yield "```bash\n" + "\n".join(lines) + "\n```"


def _options(command: Any, context: Any) -> Iterator[str]:
    """Yield a table of a command's arguments and options."""
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [f"| `{' '.join(name.split())}` | {_cell(text)} |" for name, text in filter(None, records)]
    if rows:
        yield "\n".join(["| option | what it does |", "| :--- | :--- |", *rows])


def _cell(text: str) -> str:
    """Return text for a cell of a table, in which <suite> is no tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _plain(text: str) -> str:
    """Return help text without the marks of the terminal's markup."""
    return text.replace("\\[", "[")
