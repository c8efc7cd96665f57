"""The template of a package with one working method, for its author to change."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from string import Template

from sg_bench.errors import UsageError
from sg_bench.registry import METHODS
from sg_bench.resources import method_template

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""Allowed names of a new method, which become part of the names of a package and a class."""
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "__init__.py.txt": "src/{package}/__init__.py",
    "config.py.txt": "src/{package}/config.py",
    "method.py.txt": "src/{package}/method.py",
    "test.py.txt": "tests/test_{name}.py",
}
"""The file that is made of each template."""


def new_method(name: str, into: Path) -> Path:
    """Write the package sg-bench-NAME into a new folder in `into`, completely or not at all, and return that folder.

    Raises:
        UsageError: the name is invalid or taken, or the folder exists.
    """
    _check_name(name)
    distribution = f"sg-bench-{name.replace('_', '-')}"
    folder = into / distribution
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="Choose another name or another --into, or remove it")
    if not into.is_dir():
        raise UsageError(f"--into {into}: no such folder", hint="Make it, or correct the path")
    words = {
        "name": name,
        "distribution": distribution,
        "package": f"sg_bench_{name}",
        "class_name": "".join(word.capitalize() for word in name.split("_")),
    }
    partial = Path(tempfile.mkdtemp(prefix=f".{distribution}.", dir=into))
    try:
        for template, path in FILES.items():
            target = partial / path.format(**words)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template((method_template() / template).read_text()).substitute(words))
        partial.chmod(0o755)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(
            f"a new method cannot be called '{name}'", hint="Use small letters, digits and single '_', as in my_method"
        )
    if name in [*METHODS.names(), *METHODS.broken()]:
        raise UsageError(f"there is a method '{name}' already", hint="Choose another name: see sg-bench list methods")
