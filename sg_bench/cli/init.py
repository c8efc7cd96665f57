"""`sg-bench data init` and `sg-bench new task`: write a task card and a suite for a user's own images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sg_bench.cli import options
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
    as_json: options.Json = False,
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
    printed = options.Printed(as_json=as_json)
    printed.line(f"{path}: {layout.get(found.config.layout, found.config.layout)}")
    for line in found.lines():
        printed.line(f"  {line}")
    warnings = [f"{problem}".replace(f"{root}/", "") for problem in found.problems]
    warnings += [f"left out: {line}" for line in found.unread]
    _warn(warnings)
    written = proposal(found, slug(_stem(target)), column)
    printed.line(f"The task: {written.predicts}")
    _write(files, written, f"Written by sg-bench data init for {root.name}: correct what was guessed wrong.")
    planned = _check(files, written, root)
    about = {"layout": found.config.layout, "cases": len(found.cases), "patients": found.patients}
    _end(printed, files, written, str(path), **about, found=found.lines(), warnings=[*warnings, *planned])


def new_task(
    name: Annotated[str, typer.Argument(help="Its name, such as my_task.")],
    force: Force = False,
    as_json: options.Json = False,
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
    _end(options.Printed(as_json=as_json), files, written, "PATH")


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


def _warn(lines: list[str]) -> None:
    for line in lines:
        typer.echo(f"warning: {line}", err=True)


def _check(files: tuple[Path, Path], written: Proposal, root: Path) -> list[str]:
    """Plan the suite that was written, and print and return what the plan warns of.

    Raises:
        DataError: it cannot be computed.
    """
    from sg_bench.planning import plan
    from sg_bench.suite import load_suite

    planned = plan(load_suite(str(files[1])), {written.card["data"]["name"]: root})
    _warn(planned.warnings)
    for cell in planned.cells:
        if cell.missing:
            what = planned.with_paths(cell.missing)
            raise DataError(f"{files[1]} is written, but cannot run: {what}", hint=f"Correct {files[0]}")
    return planned.warnings


def _end(printed: options.Printed, files: tuple[Path, Path], written: Proposal, path: str, **facts: Any) -> NoReturn:
    """Print what was written and which commands use it, with these facts of the images."""
    card, suite = (str(file) for file in files)
    data = f"--data {written.card['data']['name']}={path}"
    following = [f"sg-bench data check {card} {data} --read", f"sg-bench run --suite {suite} {data}"]
    printed.line(f"Written: {card} and {suite}. Next:")
    for command in following:
        printed.line(f"  {command}")
    printed.end(card=card, suite=suite, predicts=written.predicts, **facts, next=following)
