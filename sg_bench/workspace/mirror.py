"""A whole folder at a URL, such as that of a report: copied here before it is written, and stored after."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sg_bench.workspace.objects import Objects, ObjectState, checked_url, in_parallel, local_folder


class Mirror:
    """A folder of this node whose content is kept at a URL.

    Args:
        url: of the folder.

    Raises:
        UsageError: the URL holds a secret.
    """

    def __init__(self, url: str) -> None:
        self.objects = Objects(checked_url(url))
        self.folder = local_folder(self.objects.url)
        self._known: set[str] = set()
        """Names of the files that this node has copied or stored: what others store meanwhile is left to them."""

    def fetch(self) -> None:
        """Copy what differs here, and remove what is not stored."""
        stored = self.objects.files("", below=True)
        in_parallel(lambda name: self._fetch(name, stored[name]), self._differing(stored))
        for name in self._names() - stored.keys():
            (self.folder / name).unlink()
        self._known = set(stored)

    def publish(self, *, last: Iterable[str] = ()) -> None:
        """Store what differs, the files `last` after all others, and remove what was known here and is not here."""
        stored, here, ends = self.objects.files("", below=True), self._names(), tuple(last)
        changed = sorted(name for name in here if not self._is_copy(name, stored.get(name)))
        in_parallel(self._store, [name for name in changed if not name.endswith(ends)])
        in_parallel(self._store, [name for name in changed if name.endswith(ends)])
        in_parallel(self.objects.remove, sorted((stored.keys() & self._known) - here))
        self._known |= here

    def _differing(self, stored: dict[str, ObjectState]) -> list[str]:
        return [name for name, state in stored.items() if not self._is_copy(name, state)]

    def _names(self) -> set[str]:
        found = self.folder.rglob("*") if self.folder.is_dir() else ()
        return {path.relative_to(self.folder).as_posix() for path in found if path.is_file()}

    def _fetch(self, name: str, state: ObjectState) -> None:
        self.objects.download(name, self.folder / name)
        mark_copy(self.folder / name, state)

    def _store(self, name: str) -> None:
        self.objects.upload(name, self.folder / name)
        state = self.objects.state(name)
        if state is not None:
            mark_copy(self.folder / name, state)

    def _is_copy(self, name: str, state: ObjectState | None) -> bool:
        return state is not None and is_copy(self.folder / name, state)


def is_copy(path: Path, state: ObjectState) -> bool:
    """Return whether a file was marked as a copy of a stored one, and neither has changed since."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return (found.st_size, found.st_mtime_ns) == (state.size, state.time)


def mark_copy(path: Path, state: ObjectState) -> None:
    """Give a file the time of the stored one that it is a copy of."""
    os.utime(path, ns=(state.time, state.time))
