"""Paths of suites, task cards, templates and published numbers, in a checkout and in a wheel.

In a checkout `tasks/` and `results/published/` are next to the package; a wheel has them inside it, in `_shared/`.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def task_cards() -> dict[str, Path]:
    """Return the built-in task cards by name."""
    return _by_stem(_shared() / "tasks")


def suites() -> dict[str, Path]:
    """Return the built-in suite files by name."""
    return _by_stem(_PACKAGE / "suites")


def method_template() -> Path:
    """Return the folder of what `sg-bench new method` writes."""
    return _PACKAGE / "templates" / "method"


def published() -> Path:
    """Return the folder of the papers' numbers."""
    return _shared() / "results" / "published"


def _shared() -> Path:
    inside = _PACKAGE / "_shared"
    return inside if inside.is_dir() else _PACKAGE.parent


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
