"""`sg-bench data init` and `sg-bench new task`: write a task card and a suite for a user's own images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from sg_bench.planning.proposals import Proposal

Target = Annotated[
    Path | None, typer.Option("--out", metavar="NAME.yaml", help="Writes NAME.task.yaml and NAME.suite.yaml.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


def init(
    path: Annotated[Path, typer.Argument(help="A folder of images.")],
    out: Target = None,
    column: Annotated[str, typer.Option(help="Column of the table to predict, instead of label maps.")] = "",
    force: Force = False,
) -> None:
    """Look at a folder of images, print what it holds, and write a task card and a suite that run as they are.

    Examples: sg-bench data init /scans/hippocampus; sg-bench data init /films --column diagnosis --out films.yaml
    """
    from sg_bench.data.survey import survey
    from sg_bench.planning.proposals import proposal, slug

    root = path.expanduser().resolve()
    if not root.is_dir():
        raise DataError(f"{path}: no such folder", hint="Correct the path")
    target = out or Path(f"{slug(root.name)}.yaml")
    files = _files(target, force)
    found = survey(root)
    layout = {"pattern": f"images {found.config.images}", "dicom": "DICOM series"}
    typer.echo(f"{path}: {layout.get(found.config.layout, found.config.layout)}")
    for line in found.lines():
        typer.echo(f"  {line}")
    for problem in found.problems:
        typer.echo(f"warning: {problem}".replace(f"{root}/", ""), err=True)
    for line in found.unread:
        typer.echo(f"warning: left out: {line}", err=True)
    written = proposal(found, slug(_stem(target)), column)
    typer.echo(f"The task: {written.predicts}")
    _write(files, written, f"Written by sg-bench data init for {root.name}: correct what was guessed wrong.")
    _check(files, written, root)
    _next(files, written, str(path))


def new_task(
    name: Annotated[str, typer.Argument(help="Its name, such as my_task.")],
    force: Force = False,
) -> None:
    """Write a task card and a suite for images that are not at hand, to be completed.

    Examples: sg-bench new task my_task; sg-bench new task my_task --force
    """
    from sg_bench.planning.proposals import blank, slug

    if slug(name) != name:
        raise UsageError(f"a task cannot be called '{name}'", hint=f"Use small letters, digits, _ and -: {slug(name)}")
    files = _files(Path(f"{name}.yaml"), force)
    written = blank(name)
    _write(files, written, "Correct data, target, preparation and patch; docs/own-scans.md describes them.")
    _next(files, written, "PATH")


def _stem(target: Path) -> str:
    return target.name.removesuffix(".yaml").removesuffix(".yml")


def _files(target: Path, force: bool) -> tuple[Path, Path]:
    """Return the paths of the card and of the suite.

    Raises:
        UsageError: one of them exists.
    """
    files = tuple(target.with_name(f"{_stem(target)}.{kind}.yaml") for kind in ("task", "suite"))
    for file in files:
        if file.exists() and not force:
            raise UsageError(f"{file} exists already", hint="Choose another name with --out, or add --force")
    return files[0], files[1]


def _write(files: tuple[Path, Path], written: Proposal, comment: str) -> None:
    from sg_bench.planning.proposals import as_yaml
    from sg_bench.workspace import write_atomic

    card, suite = files
    card.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(card, as_yaml(written.card, comment))
    suite_text = {**written.suite, "tasks": [card.name]}
    write_atomic(suite, as_yaml(suite_text, "budget: short is for a first try; choose long, or your own, for results."))


def _check(files: tuple[Path, Path], written: Proposal, root: Path) -> None:
    """Plan the suite that was written, and print what the plan warns of.

    Raises:
        DataError: it cannot be computed.
    """
    from sg_bench.planning import plan
    from sg_bench.suite import load_suite

    planned = plan(load_suite(str(files[1])), {written.card["data"]["name"]: root})
    for line in planned.warnings:
        typer.echo(f"warning: {line}", err=True)
    for cell in planned.cells:
        if cell.missing:
            what = planned.with_paths(cell.missing)
            raise DataError(f"{files[1]} is written, but cannot run: {what}", hint=f"Correct {files[0]}")


def _next(files: tuple[Path, Path], written: Proposal, path: str) -> None:
    data = f"--data {written.card['data']['name']}={path}"
    typer.echo(f"Written: {files[0]} and {files[1]}. Next:")
    typer.echo(f"  sg-bench data check {files[0]} {data} --read")
    typer.echo(f"  sg-bench run --suite {files[1]} {data}")
