"""Lazy exports of a package, so that importing it stays cheap and free of torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any


def lazy_exports(package: str, targets: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`, which import each public name on first use (PEP 562).

    Args:
        package: the package's `__name__`.
        targets: the module of each public name, relative to the package; "module:attribute" if the attribute there
            has another name.
    """

    def get(name: str) -> Any:
        if name not in targets:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module, _, attribute = targets[name].partition(":")
        return attrgetter(attribute or name)(importlib.import_module(f"{package}.{module}"))

    return get, lambda: sorted(targets)
