"""The options that verbs share, and what they select."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from sg_bench.errors import UsageError, did_you_mean
from sg_bench.planning import Plan, plan
from sg_bench.registry import METHODS
from sg_bench.suite import MethodChoice, Suite, load_suite, parse_seeds
from sg_bench.tasks import parse_reference
from sg_bench.workspace import Workspace

SuiteName = Annotated[str, typer.Option("--suite", help="A built-in suite's name, or a .yaml file.")]
Work = Annotated[Path | None, typer.Option("--work", help="Workspace; else $SG_BENCH_HOME, else ./.sg-bench.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where the report goes; else results/<suite>.")]
Methods = Annotated[str, typer.Option("--methods", help="Only these methods, comma-separated.")]
Tasks = Annotated[str, typer.Option("--tasks", help="Only these tasks, comma-separated, as ncs or 'ncs[steps=80]'.")]
Seeds = Annotated[str, typer.Option("--seeds", help="Fine-tuning seeds, as 0-4 or 0,2,7.")]
PretrainingSeeds = Annotated[str, typer.Option("--pretraining-seeds", help="Pretraining seeds, likewise.")]
Data = Annotated[list[str], typer.Option("--data", metavar="NAME=PATH", help="Where a data set lies; repeatable.")]
Set = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the suite; repeatable.")
]


class Selection(NamedTuple):
    """What the shared options say."""

    plan: Plan
    workspace: Workspace
    out: Path


def select(
    suite: str,
    *,
    work: Path | None = None,
    out: Path | None = None,
    methods: str = "",
    tasks: str = "",
    seeds: str = "",
    pretraining_seeds: str = "",
    data: list[str] | None = None,
    settings: list[str] | None = None,
) -> Selection:
    """Return the plan, workspace and report folder that the options name.

    Raises:
        UsageError: an option names something that does not exist.
    """
    chosen = load_suite(suite, settings=settings)
    changes = {
        "methods": _methods(chosen, methods) if methods else chosen.methods,
        "tasks": _tasks(chosen, tasks) if tasks else chosen.tasks,
        "fine_tuning_seeds": _seeds("--seeds", seeds) or chosen.fine_tuning_seeds,
        "pretraining_seeds": _seeds("--pretraining-seeds", pretraining_seeds) or chosen.pretraining_seeds,
    }
    chosen = chosen.model_copy(update=changes)
    workspace = Workspace(work) if work else Workspace.default()
    return Selection(plan(chosen, _roots(data or [])), workspace, out or Path("results") / chosen.name)


def split_list(text: str) -> list[str]:
    """Return the comma-separated items of `text`; commas inside brackets do not separate."""
    items, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items if item.strip()]


def _methods(suite: Suite, names: str) -> list[MethodChoice]:
    by_name = {name: MethodChoice(name=name) for name in METHODS.names()}
    by_name |= {method.title: method for method in suite.methods}
    for name in split_list(names):
        if name not in by_name:
            raise UsageError(f"unknown method '{name}'", hint=did_you_mean(name, by_name))
    return [by_name[name] for name in split_list(names)]


def _tasks(suite: Suite, names: str) -> list[str]:
    """Return the suite's tasks of these names; a name that the suite lacks stands for itself."""
    chosen: list[str] = []
    for name in split_list(names):
        inside = [task for task in suite.tasks if name in (task, parse_reference(task)[0])]
        chosen += inside or [name]
    return list(dict.fromkeys(chosen))


def _seeds(option: str, text: str) -> list[int]:
    try:
        seeds: list[int] = parse_seeds(text) if text else []
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=f"Write {option} 0-4") from error
    return list(dict.fromkeys(seeds))


def _roots(data: list[str]) -> dict[str, Path]:
    roots: dict[str, Path] = {}
    for item in data:
        name, equals, path = item.partition("=")
        if not (equals and name and path):
            raise UsageError(f"--data {item!r} is not NAME=PATH", hint="Write --data hippocampus=/scans/hippocampus")
        roots[name] = Path(path).expanduser().resolve()
    return roots
