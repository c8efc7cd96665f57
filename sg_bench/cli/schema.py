"""`sg-bench schema`: JSON Schemas of suites and task cards, by which editors complete and check them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SchemaName(StrEnum):
    """The files that have a schema."""

    SUITE = "suite"
    TASK = "task"


def schema(
    what: Annotated[SchemaName | None, typer.Argument(help="Only this one, on standard output.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of both files.")] = Path("schemas"),
) -> None:
    """Write JSON Schemas of suites and task cards, with the settings of all installed methods and networks.

    Editors complete, describe and check files by them: docs/editors.md.

    Examples: sg-bench schema; sg-bench schema suite
    """
    import json

    from sg_bench.planning.schemas import suite_schema, task_schema
    from sg_bench.workspace import write_atomic

    schemas = {SchemaName.SUITE: suite_schema, SchemaName.TASK: task_schema}
    if what:
        typer.echo(json.dumps(schemas[what](), indent=2))
        return
    for name, made in schemas.items():
        path = out / f"{name}.schema.json"
        write_atomic(path, json.dumps(made(), indent=2) + "\n")
        typer.echo(f"{name}: {path}")
