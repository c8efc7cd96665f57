"""`sg-bench list`: the names of methods, networks, tasks, suites and published numbers."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.cli import options
from sg_bench.errors import UsageError

if TYPE_CHECKING:
    from sg_bench.registry import Registry


class ListedKind(StrEnum):
    """The kinds of names."""

    METHODS = "methods"
    NETWORKS = "networks"
    TASKS = "tasks"
    SUITES = "suites"
    PUBLISHED = "published"


def list_names(
    what: ListedKind,
    name: Annotated[str, typer.Argument(help="Print the numbers of this publication.")] = "",
    as_json: options.Json = False,
) -> None:
    """List methods, networks, tasks, suites or published numbers, or print the numbers of one publication.

    Examples: sg-bench list methods; sg-bench list published semantic_genesis_2020
    """
    if name:
        _print_publication(what, name, as_json=as_json)
        return
    listed = {
        ListedKind.METHODS: _methods,
        ListedKind.NETWORKS: _networks,
        ListedKind.TASKS: _tasks,
        ListedKind.SUITES: _suites,
        ListedKind.PUBLISHED: _published,
    }
    lines = listed[what]()
    if as_json:
        typer.echo(options.json_text({what.value: [{"name": key, "summary": text} for key, text in lines.items()]}))
        return
    width = max((len(each) for each, summary in lines.items() if summary), default=0)
    for each, summary in lines.items():
        typer.echo(f"{each:<{width}}  {summary}".rstrip())


def _methods() -> dict[str, str]:
    from sg_bench.registry import METHODS

    return _registered(METHODS)


def _networks() -> dict[str, str]:
    from sg_bench.registry import NETWORKS

    return _registered(NETWORKS)


def _registered(registry: Registry) -> dict[str, str]:
    usable = {name: registry.entry(name).summary for name in registry.names()}
    return usable | {
        name if name not in usable else f"{name} (another)": f"BROKEN: {error}"
        for name, error in registry.broken().items()
    }


def _tasks() -> dict[str, str]:
    from sg_bench.resources import task_cards
    from sg_bench.tasks import read_task, read_yaml
    from sg_bench.tasks.reading import COMMON_AXES

    lines: dict[str, str] = {}
    for name, path in task_cards().items():
        task, offered = read_task(name), dict(read_yaml(path).get("variants") or {})
        lines[name] = f"{task.title} ({task.kind}, {task.headline})"
        lines |= {f"  {name}[{axis}={'|'.join(map(str, values))}]": "" for axis, values in offered.items()}
    names = ", ".join(f"{axis}=..." for axis in COMMON_AXES)
    return {**lines, "every task": f"also as NAME[{names}]"}


def _suites() -> dict[str, str]:
    from sg_bench.resources import suites
    from sg_bench.suite import load_suite

    loaded = {name: load_suite(name) for name in suites()}
    return {name: f"{s.title} ({len(s.methods)} methods, {len(s.tasks)} tasks)" for name, s in loaded.items()}


def _published() -> dict[str, str]:
    from sg_bench.reporting.published import load_published, publications

    return {name: load_published(name).title for name in publications()}


def _print_publication(what: ListedKind, name: str, *, as_json: bool) -> None:
    from sg_bench.reporting.published import load_published, papers_table

    if what != ListedKind.PUBLISHED:
        raise UsageError(f"list {what}: '{name}' is one name too many", hint=f"Write sg-bench list {what}")
    found = load_published(name)
    typer.echo(options.json_text(found.model_dump(mode="json")) if as_json else papers_table(found).rstrip())
