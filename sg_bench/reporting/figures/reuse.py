"""Decides which figures of a report are up to date: drawn from equal input by equal code, and not changed since.

Drawing takes most of the time of a report, and a report is usually written again with nothing or little changed.
figures/drawn.json holds, for each figure, a digest of its input and of the code, and the SHA-256 of its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import sg_bench
from sg_bench.digests import content_digest
from sg_bench.reporting.figures import layout
from sg_bench.reporting.figures.layout import Plot
from sg_bench.workspace import file_digest, read_json, write_json

FILE = "drawn.json"
LIBRARIES = ("contourpy", "fonttools", "matplotlib", "numpy", "pillow", "scipy")
"""Libraries that can change the bytes of a figure."""


def save_changed(plots: Sequence[Plot], folder: Path) -> list[Path]:
    """Draw the figures of which the folder has no current file; return the paths of all in the order of `plots`."""
    before = _read(folder)
    digests = {plot.name: input_digest(plot) for plot in plots}
    entries = {plot.name: _entry(plot, digests[plot.name], folder) for plot in plots}
    for plot in plots:
        if entries[plot.name] is None or before.get(plot.name) != entries[plot.name]:
            layout.save(plot, folder)
            entries[plot.name] = _entry(plot, digests[plot.name], folder)
    if entries != before:
        write_json(folder / FILE, entries)
    return [layout.path_of(plot, folder) for plot in plots]


def input_digest(plot: Plot) -> str:
    """Return the SHA-256 (64 hex digits) of all that a figure's files depend on: its input, the code, the libraries.

    Raises:
        TypeError: the input of its drawing function is not plain data, so that its content is unknown.
    """
    total = hashlib.sha256(_code_digest().encode())
    for part in _content((plot.name, plot.title, plot.caption, plot.draw)):
        total.update(part.encode("utf-8", "surrogateescape") + b"\n")
    return total.hexdigest()


def _content(value: Any) -> Iterator[str]:
    """Yield the content of nested plain data as text, with types and lengths, so that different data differ.

    Raises:
        TypeError: something in it is not plain data.
    """
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if value is None or isinstance(value, bool | int | float | str):
        yield f"{name} {value!r}"
    elif isinstance(value, np.ndarray | np.generic):
        yield f"{name} {content_digest({'': np.asarray(value)})}"
    elif isinstance(value, list | tuple) and set(map(type, value)) <= {int, float}:
        yield f"{name} {value!r}"
    elif isinstance(value, list | tuple):
        yield f"{name} {len(value)}"
        for each in value:
            yield from _content(each)
    elif isinstance(value, dict):
        yield f"{name} {len(value)}"
        for pair in value.items():
            yield from _content(pair)
    elif is_dataclass(value) and not isinstance(value, type):
        yield name
        yield from _content({field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, partial):
        yield from _content((value.func.__module__, value.func.__qualname__, value.args, value.keywords))
    else:
        raise TypeError(f"a figure is drawn from plain data, not from {name}")


@cache
def _code_digest() -> str:
    """Return a digest of the source files of sg-bench and of the versions of the libraries that draw."""
    root = Path(sg_bench.__file__).parent
    lines = [f"{path.relative_to(root)} {file_digest(path)}" for path in sorted(root.rglob("*.py"))]
    lines += [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read(folder: Path) -> dict[str, Any]:
    """Return the entries of the folder's figures by name; none of a file that cannot be read."""
    try:
        found = read_json(folder / FILE)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _entry(plot: Plot, digest: str, folder: Path) -> dict[str, str] | None:
    """Return the entry of a figure with its file, None if it is absent."""
    path = layout.path_of(plot, folder)
    return {"input": digest, "file": file_digest(path)} if path.is_file() else None
