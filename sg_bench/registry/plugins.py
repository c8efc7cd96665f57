"""The code of a plugin: package, version and a digest of its source files, which are part of the key of its results."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from sg_bench.config import Model
from sg_bench.errors import UsageError


class PluginCode(Model):
    """The code of a method, network or source that is not part of sg-bench."""

    package: str = ""
    """Name of the installed distribution; "" for a class that a script registers."""
    version: str = ""
    sha256: str
    """Over the .py files of its top-level packages, or of the script's module: an edit gives other keys."""


def plugin_code(targets: list[str], distribution: metadata.Distribution | None) -> PluginCode:
    """Return the code behind `targets` ("module:attribute"); targets of sg-bench itself are left out.

    Raises:
        UsageError: the source files of a module cannot be found.
    """
    modules = sorted({target.partition(":")[0] for target in targets})
    if distribution:
        modules = sorted({module.partition(".")[0] for module in modules})
    digest = hashlib.sha256()
    for module in modules:
        if module.partition(".")[0] == "sg_bench":
            continue
        for name, path in sorted(_source_files(module)):
            digest.update(f"{module}/{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    package, version = (distribution.name, distribution.version) if distribution else ("", "")
    return PluginCode(package=package, version=version, sha256=digest.hexdigest())


def _source_files(module: str) -> Iterator[tuple[str, Path]]:
    """Yield relative name and path of each source file of a module or package."""
    loaded = sys.modules.get(module)
    folders, file = getattr(loaded, "__path__", None), getattr(loaded, "__file__", None)
    if loaded is None and (spec := find_spec(module)):
        folders, file = spec.submodule_search_locations, spec.origin
    if folders:
        for folder in map(Path, folders):
            yield from ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.py"))
    elif file and Path(file).is_file():
        yield Path(file).name, Path(file)
    else:
        raise UsageError(
            f"the source file of module '{module}' cannot be found, so results of its code have no key",
            hint="Define the class in a .py file",
        )
