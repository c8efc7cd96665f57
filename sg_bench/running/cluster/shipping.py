"""The environment of all workers of a run, and sending this machine's code to the nodes of a cluster."""

from __future__ import annotations

import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sg_bench import resources
from sg_bench.errors import UsageError
from sg_bench.running.cluster.node_description import PACKAGE, plugins
from sg_bench.running.environment import single_threaded

DISTRIBUTION = "sg-bench"


def runtime_environment(shipped: Path | None = None) -> dict[str, Any]:
    """Return Ray's runtime environment of a run: of tasks, and of the workers of Ray Train and Ray Tune.

    Args:
        shipped: folder into which the code is copied that the nodes shall use; None leaves each node its own.
    """
    environment: dict[str, Any] = {"env_vars": single_threaded()}
    if shipped:
        environment["py_modules"] = [str(path) for path in copy_code(shipped)]
    return environment


def copy_code(target: Path) -> list[Path]:
    """Copy sg-bench, its plugins and what describes them as installed into a folder; return what is to be sent.

    Each part is a folder or a .py file whose parent Ray puts into the nodes' import path, before what they have.

    Raises:
        UsageError: the source files of a plugin cannot be found.
    """
    _copy_package(target)
    distributions = [metadata.distribution(DISTRIBUTION)] if _installed() else []
    for distribution, modules in plugins():
        distributions.append(distribution)
        for module in modules:
            _copy_module(module, target)
    for distribution in distributions:
        _copy_description(distribution, target)
    return sorted(target.iterdir())


def _copy_package(target: Path) -> None:
    """Copy this package as a wheel has it: with task cards and published numbers inside."""
    _copy_module(PACKAGE, target)
    shared = target / PACKAGE / "_shared"
    if not shared.exists():
        shutil.copytree(resources.published(), shared / "results" / "published")
        (shared / "tasks").mkdir()
        for path in resources.task_cards().values():
            shutil.copy2(path, shared / "tasks")


def _copy_module(module: str, target: Path) -> None:
    spec = find_spec(module)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if folders:
        ignored = shutil.ignore_patterns("__pycache__", ".gitignore", "*.pyc")
        shutil.copytree(folders[0], target / module, ignore=ignored, dirs_exist_ok=True)
    elif spec and spec.origin and Path(spec.origin).is_file():
        shutil.copy2(spec.origin, target)
    else:
        raise UsageError(
            f"the source files of plugin module '{module}' cannot be found, so they cannot be sent to the nodes",
            hint="Install it on every node, and leave out --ship-code",
        )


def _copy_description(distribution: metadata.Distribution, target: Path) -> None:
    """Write what makes a distribution known as installed: its name, version and entry points."""
    folder = target / f"{distribution.name.replace('-', '_')}-{distribution.version}.dist-info"
    folder.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: {distribution.name}\nVersion: {distribution.version}\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")
    (folder / "entry_points.txt").write_text(distribution.read_text("entry_points.txt") or "", encoding="utf-8")


def _installed() -> bool:
    try:
        metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return False
    return True
