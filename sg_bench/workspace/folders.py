"""The folders of a workspace, one for each kind of result."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sg_bench.workspace.files import move_aside, replace_folder, restore_folder
from sg_bench.workspace.locks import hold

WEIGHT_FILES = ("encoder.safetensors", "decoder.safetensors")
"""Files of an initialisation; one without a trained decoder lacks the second."""
Namespace = Literal[
    "stores",
    "lists",
    "splits",
    "patterns",
    "weights",
    "initialisations",
    "predictions",
    "cells",
    "progress",
    "ray",
    "memory",
    "costs",
    "logs",
    "runs",
]
"""Folders of the workspace, one a kind of result."""
DAMAGED = "damaged"
"""Folder of the workspace for what was set aside: `damaged/<namespace>/<name>`; nothing there is read again."""
PARTIAL = ".partial"
"""Ending of a folder or file that is still being written; `Workspace.partial` gives a result's."""


class Workspace:
    """The folder given by --work, SG_BENCH_HOME, or ./.sg-bench."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()
        self.location = str(self.root)
        """What other processes, on other nodes too, open this workspace by: `Workspace(location)`."""

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

    def set_aside(self, namespace: Namespace, name: str) -> Path:
        """Move a damaged file or folder into `damaged/`, whatever is there already, and return its new path.

        Raises:
            FileNotFoundError: it is not there; another process may have been first.
        """
        folder = self.path(namespace).resolve()  # a folder that is linked from elsewhere keeps its damaged parts there
        return move_aside(folder / name, folder.parent / DAMAGED / namespace / name.replace(f"{PARTIAL}/", "/"))

    @contextmanager
    def lock(self, key: str, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
        """Hold the lock of `key`; death releases it.

        Args:
            key: of a result, or a name.
            shared: do not exclude others that hold it shared, only one that holds it alone.
            wait: until no other process holds it.

        Raises:
            LockedElsewhere: another process holds it, and `wait` is False.
        """
        with hold(self.root, key, shared=shared, wait=wait):
            yield

    @contextmanager
    def building(self, namespace: Namespace, key: str) -> Iterator[Path]:
        """Yield a folder to fill; on success it becomes `namespace/key`, on failure it stays, to be resumed.

        The same partial folder is yielded again after a crash, so finished parts of an earlier try are kept. An earlier
        result of that name is complete until the new one replaces it. Hold `lock(key)` around it when several processes
        may build one key.
        """
        final, partial = self.path(namespace, key), self.partial(namespace, key)
        restore_folder(final)
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        replace_folder(partial, final)
