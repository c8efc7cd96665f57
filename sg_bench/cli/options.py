"""The options that several commands share; `sg_bench.cli.selection` reads them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sg_bench.cli import completion

if TYPE_CHECKING:
    from sg_bench.workspace import Workspace

SuiteName = Annotated[
    str,
    typer.Option("--suite", help="A built-in suite's name, or a .yaml file.", autocompletion=completion.suites),
]
Work = Annotated[
    str | None, typer.Option("--work", help="Workspace: a folder or s3:// URL; else $SG_BENCH_HOME, else ./.sg-bench.")
]
RecordsFolder = Annotated[
    str | None, typer.Option("--work", help="Workspace or results folder; else $SG_BENCH_HOME, else ./.sg-bench.")
]
Out = Annotated[
    str | None,
    typer.Option("--out", help="The suite's report, a folder or URL; else results/<suite>. A part's is in its views/."),
]
Methods = Annotated[
    str,
    typer.Option("--methods", help="Only these methods, comma-separated.", autocompletion=completion.methods),
]
Tasks = Annotated[
    str,
    typer.Option(
        "--tasks",
        help="Only these tasks, comma-separated, as ncs or 'ncs\\[steps=80]'.",
        autocompletion=completion.tasks,
    ),
]
FineTuningSeeds = Annotated[str, typer.Option("--seeds", help="Fine-tuning seeds, as 0-4 or 0,2,7.")]
PretrainingSeeds = Annotated[str, typer.Option("--pretraining-seeds", help="Pretraining seeds, likewise.")]
Data = Annotated[list[str], typer.Option("--data", metavar="NAME=PATH", help="Folder of a data set; repeatable.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="PATH", help="Folder with a folder for each data set; --data overrides."),
]
Set = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the suite; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs; docs/json.md describes it.")]


def note(line: str) -> None:
    """Print a line for people, on standard error; nothing with -q."""
    if logging.getLogger("sg_bench").isEnabledFor(logging.INFO):
        typer.echo(line, err=True)


class Printed:
    """What a command prints: lines for people; with --json its facts, and the lines on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def line(self, text: str) -> None:
        """Print a line for people."""
        if self.as_json:
            note(text)
        else:
            typer.echo(text)

    def end(self, code: int = 0, **facts: Any) -> NoReturn:
        """Print the facts, if they are asked for, and end the command with an exit code."""
        if self.as_json:
            typer.echo(json_text({**facts, "exit_code": code}))
        raise typer.Exit(code)


def json_text(content: Any) -> str:
    """Return JSON in one line."""
    import json

    return json.dumps(content, allow_nan=False)


def need_folder(workspace: Workspace, hint: str) -> None:
    """Refuse a workspace on other storage, of which this machine has copies only.

    Raises:
        UsageError: it is one.
    """
    from sg_bench.errors import UsageError

    if workspace.remote:
        raise UsageError(f"{workspace.shown}: this works on workspaces that are folders", hint=hint)
