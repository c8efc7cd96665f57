"""Locks of a folder that several processes use: by flock, or by lease files where flock does not hold."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sg_bench.errors import UsageError
from sg_bench.workspace.leases import FolderClaims, lease
from sg_bench.workspace.mounts import is_shared_folder

LOCKS = "SG_BENCH_LOCKS"
"""Environment variable: flock, lease or auto."""
LEASES = "leases"
"""Folder of lease files; where there is one, all processes use leases, whatever file system they see."""
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of flock where the file system has none."""


class LockedElsewhere(Exception):
    """Another process holds the lock of `key`."""

    def __init__(self, key: str) -> None:
        super().__init__(f"another process holds the lock of {key[:12]}")
        self.key = key

    def __reduce__(self) -> tuple[type[LockedElsewhere], tuple[str]]:
        return type(self), (self.key,)


@contextmanager
def hold(root: Path, key: str, *, shared: bool, wait: bool) -> Iterator[None]:
    """Hold the lock of `key` in the workspace `root`, as `Workspace.lock` describes it.

    Raises:
        LockedElsewhere: another process holds it, and `wait` is False.
        UsageError: SG_BENCH_LOCKS is none of its values.
    """
    if lock_type(root) == "flock":
        handle = _flocked(root / "locks", key, shared=shared, wait=wait)
        if handle is not None:
            try:
                yield
            finally:
                os.close(handle)
            return
    with lease(FolderClaims(root / LEASES / key), shared=shared, wait=wait) as held:
        if not held:
            raise LockedElsewhere(key)
        yield


def lock_type(root: Path) -> Literal["flock", "lease"]:
    """Return how processes exclude each other in a workspace: as SG_BENCH_LOCKS says, else by its file system.

    Raises:
        UsageError: SG_BENCH_LOCKS is none of its values.
    """
    chosen = os.environ.get(LOCKS) or "auto"
    if chosen == "auto":
        return "lease" if (root / LEASES).is_dir() or is_shared_folder(root) else "flock"
    if chosen == "flock":
        return "flock"
    if chosen == "lease":
        return "lease"
    raise UsageError(f"{LOCKS}={chosen!r} is no kind of lock", hint="Set it to flock, lease or auto")


def _flocked(folder: Path, key: str, *, shared: bool, wait: bool) -> int | None:
    """Return the descriptor of a locked file, None if the file system has no such locks.

    Raises:
        LockedElsewhere: another process holds it, and `wait` is False.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise LockedElsewhere(key) from error
        if error.errno in UNSUPPORTED and (os.environ.get(LOCKS) or "auto") == "auto":
            return None
        raise
    return handle
