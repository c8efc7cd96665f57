"""What a node of a cluster is asked before any work; runs there even if sg-bench is absent or another version.

Ray sends this module by value (`nodes.py`), so it imports nothing but the standard library, and nothing at all of this
package.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = "sg_bench"
GROUPS = "sg_bench."
"""Beginning of the groups of entry points by which plugins add methods and sources."""
VISIBLE_AFTER = 3.0
"""Seconds that a network file system may take to show a node what another has just written."""


def describe_node(marker: str) -> dict[str, Any]:
    """Return what this node has and sees: versions, code, free memory and disk, and the marker of the workspace.

    Args:
        marker: folder that the driver made in the workspace; its file `driver` is read, and one is written next to it.
            "" looks at no folder.
    """
    seen, problem = _read_marker(Path(marker)) if marker else ("", "")
    free = _free_mib(marker or "/")
    return {
        "python": platform.python_version(),
        "code": describe_code(),
        "seen": seen,
        "written": _write_marker(Path(marker)) if seen else "",
        "problem": problem,
        "memory_mib": _available_memory(),
        "shm_mib": _free_mib("/dev/shm"),  # noqa: S108 # Ray keeps objects there
        "disk_mib": _free_mib("/") if free is None else free,
    }


def describe_code() -> dict[str, str]:
    """Return "version, SHA-256 of the sources" of this package and of each plugin that is installed, by name."""
    found = {PACKAGE: f"{_package_version()} {_sources([PACKAGE])}"} if _location(PACKAGE) else {}
    for distribution, modules in plugins():
        found[distribution.name] = f"{distribution.version} {_sources(modules)}"
    return dict(sorted(found.items()))


def plugins() -> Iterator[tuple[metadata.Distribution, list[str]]]:
    """Yield the installed distributions that add methods or sources, and their top-level modules."""
    seen = set()
    for distribution in metadata.distributions():
        points = [point for point in distribution.entry_points if point.group.startswith(GROUPS)]
        if points and distribution.name not in seen:  # the first of a name is the one that Python imports
            seen.add(distribution.name)
            yield distribution, sorted({point.value.partition(":")[0].partition(".")[0] for point in points})


def _package_version() -> str:
    """Return this package's version, read and not imported."""
    text = (_location(PACKAGE) or Path()).joinpath("__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    return found[1] if found else "?"


def _sources(modules: list[str]) -> str:
    """Return the SHA-256 over names and content of the .py files of top-level modules."""
    digest = hashlib.sha256()
    for module in modules:
        place = _location(module)
        files = sorted(place.rglob("*.py")) if place and place.is_dir() else [place] if place else []
        for path in files:
            name = path.relative_to(place.parent).as_posix() if place else path.name
            digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _location(module: str) -> Path | None:
    """Return the folder of a top-level package, or the file of a top-level module, without importing it."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or [])
    return Path(folders[0]) if folders else Path(spec.origin) if spec.origin else None


def _read_marker(folder: Path) -> tuple[str, str]:
    """Return what the driver wrote, and "" or why it cannot be read."""
    end = time.monotonic() + VISIBLE_AFTER
    while True:
        try:
            return (folder / "driver").read_text(encoding="utf-8"), ""
        except OSError as error:
            if time.monotonic() > end:
                return "", os.strerror(error.errno) if error.errno else type(error).__name__
            time.sleep(0.2)


def _write_marker(folder: Path) -> str:
    """Write a random file for the driver to read; return its name and content, or "" if it cannot be written."""
    name = os.urandom(16).hex()
    try:
        with (folder / name).open("w", encoding="utf-8") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return ""
    return name


def _available_memory() -> int | None:
    """Return the memory in MiB that new processes may take."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return None


def _free_mib(path: str) -> int | None:
    try:
        return shutil.disk_usage(path).free >> 20
    except OSError:
        return None
