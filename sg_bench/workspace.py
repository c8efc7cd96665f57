"""Where stores, patterns, initialisations, cells and predictions live, shared by all suites.

Everything appears under its final name at once or not at all: files by `write_atomic`, folders by `building`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

WEIGHT_FILES = ("encoder.safetensors", "decoder.safetensors")
"""Files of an initialisation; one without a trained decoder lacks the second."""
Namespace = Literal[
    "stores", "lists", "splits", "patterns", "weights", "initialisations", "predictions", "cells", "progress", "ray"
]
"""Folders of the workspace, one a kind of result."""
PARTIAL = ".partial"
"""Ending of a folder or file that is still being written; `Workspace.partial` gives a result's."""


class Workspace:
    """The folder given by --work, SG_BENCH_HOME, or ./.sg-bench."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()

    @classmethod
    def default(cls) -> Workspace:
        """Return the workspace of SG_BENCH_HOME, else ./.sg-bench."""
        return cls(os.environ.get("SG_BENCH_HOME") or ".sg-bench")

    def path(self, namespace: Namespace, name: str = "") -> Path:
        """Return the path of `name` in a folder of the workspace; neither need exist."""
        return self.root / namespace / name

    def partial(self, namespace: Namespace, key: str) -> Path:
        """Return the folder in which the result `key` is built; it stays after a crash, to be resumed."""
        return self.path(namespace, key + PARTIAL)

    @contextmanager
    def lock(self, key: str, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock of `key`, waiting while another process holds it; death releases it.

        Those that hold it `shared` do not wait for one another, only for one that holds it alone.
        """
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / key).open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield

    @contextmanager
    def building(self, namespace: Namespace, key: str) -> Iterator[Path]:
        """Yield a folder to fill; on success it becomes `namespace/key` in one step, on failure it stays to be resumed.

        The same partial folder is handed out again after a crash, so what an earlier try finished is still there.
        Hold `lock(key)` around it when several processes may build one key.
        """
        partial = self.partial(namespace, key)
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        final = self.path(namespace, key)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode() if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as sorted, indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON in `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON; NaN and infinities, which Python would read and never write here, are none.
    """
    return json.loads(path.read_text(), parse_constant=_refused)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def file_digest(path: Path) -> str:
    """Return the SHA-256 (64 hex digits) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
