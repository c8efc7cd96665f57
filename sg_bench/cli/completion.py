"""What a shell proposes for an option's value."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def suites(incomplete: str) -> list[str]:
    """Return the names of built-in suites, and the suite files of the folder, that begin so."""
    from sg_bench import resources

    files = sorted(str(path) for path in Path().glob("*.yaml"))
    return [name for name in [*resources.suites(), *files] if name.startswith(incomplete)]


def methods(incomplete: str) -> list[str]:
    """Return lists of methods that begin so: the last name is completed."""
    from sg_bench.registry import METHODS

    return _last(incomplete, METHODS.names())


def tasks(incomplete: str) -> list[str]:
    """Return lists of tasks that begin so: the last name is completed."""
    from sg_bench import resources

    return _last(incomplete, resources.task_cards())


def _last(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]
