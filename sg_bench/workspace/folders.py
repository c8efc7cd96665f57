"""The folders of a workspace, one for each kind of result."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from sg_bench.workspace.files import move_aside, replace_folder, restore_folder
from sg_bench.workspace.locks import hold
from sg_bench.workspace.objects import checked_url, is_url, local_folder, shown_url
from sg_bench.workspace.remote import DAMAGED, Remote

KEY = re.compile(r"[0-9a-f]{64}")
"""Keys of results; other locks have names."""

WEIGHT_FILES = ("encoder.safetensors", "decoder.safetensors")
"""Files of an initialisation; one without a trained decoder lacks the second."""
Namespace = Literal[
    "stores",
    "lists",
    "splits",
    "patterns",
    "weights",
    "initialisations",
    "features",
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
PARTIAL = ".partial"
"""Ending of a folder or file that is still being written; `Workspace.partial` gives a result's."""


class Workspace:
    """The folder given by --work, SG_BENCH_HOME, or ./.sg-bench, or a URL with this node's copy in a folder.

    Args:
        location: a folder, or a URL such as s3://bucket/prefix.

    Raises:
        UsageError: the URL holds a secret.
    """

    def __init__(self, location: Path | str) -> None:
        url = checked_url(str(location)) if is_url(location) else ""
        self.root = local_folder(url) if url else Path(location).resolve()
        self.location = url or str(self.root)
        """What other processes, on other nodes too, open this workspace by: `Workspace(location)`."""
        self.shown = shown_url(url) if url else str(self.root)
        """The location as it is printed."""
        self.remote = Remote(url, self.root) if url else None
        """Where results are kept, if that is not the folder itself."""

    def __reduce__(self) -> tuple[type[Workspace], tuple[str]]:
        return type(self), (self.location,)

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
        with hold(self.root, key, shared=shared, wait=wait), self._lock_everywhere(key, shared=shared, wait=wait):
            yield

    def _lock_everywhere(self, key: str, *, shared: bool, wait: bool) -> AbstractContextManager[None]:
        """Return the lock of a result on all nodes, where they have no folder in common; names are this node's own."""
        if self.remote is None or not KEY.fullmatch(key):
            return nullcontext()
        return self.remote.lock(key, shared=shared, wait=wait)

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


def pull_weights(workspace: Workspace, name: str = "") -> None:
    """Copy published weights of one name, or of all, to this node, where they are kept elsewhere."""
    if workspace.remote is not None:
        for path in workspace.remote.objects.files("weights", below=True):
            if path.startswith(f"{name}/" if name else "") and not workspace.path("weights", path).is_file():
                workspace.remote.pull("weights", path)


def push_weights(workspace: Workspace, name: str) -> None:
    """Store published weights of one name, where they are kept elsewhere."""
    if workspace.remote is not None:
        stored = workspace.remote.objects.files("weights", below=True)
        for path in sorted(workspace.path("weights", name).iterdir()):
            if path.is_file() and f"{name}/{path.name}" not in stored:
                workspace.remote.push("weights", f"{name}/{path.name}")
