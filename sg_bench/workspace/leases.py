"""Leases: locks that hold where only the exclusive creation of a file does, as on network file systems and objects.

A lock has generations, files `1`, `2`, ... of which each can be created once. Who creates the next one holds the lock,
and may do so once the newest is released, or no longer renewed. So a lease is never taken from its file, and no two can
take it over. A holder renews its file every few seconds; others judge by when they see the content change on their own
clocks, so nodes whose clocks differ agree. The newest file and the one before stay for good: by them one who has seen
an old listing notices it.

Those who share a lock hold files of their own, `shared-<owner>`, created while they hold the lock alone; one who wants
it alone waits for these.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

from sg_bench.workspace.files import atomic_file, read_bytes

State = Literal["held", "sharing", "released"]
SHARED = "shared-"
"""Beginning of the name of a claim that others may hold too."""
POLL_SECONDS = (0.02, 1.0)
"""First and longest wait between two looks at a lock that is held."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseTimes:
    """How often a lease is renewed, and after how long without a change it counts as given up, in seconds."""

    renew: float = 5.0
    stale: float = 25.0


class Claims(Protocol):
    """The small files of one lock."""

    place: str
    """Unique name of this lock."""

    def names(self) -> list[str]:
        """Return the names of all files."""

    def create(self, name: str, content: bytes) -> bool:
        """Create a file, unless there is one of that name; return whether this call has created it."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a file in one step."""

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""


class FolderClaims:
    """Claims as files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, str(folder)

    def names(self) -> list[str]:
        """Return the names of all files."""
        try:
            return [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []

    def create(self, name: str, content: bytes) -> bool:
        """Create a file with its content, by a link: of several links to one name the server lets one succeed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unnamed = self.folder / f".{uuid.uuid4().hex}"
        unnamed.write_bytes(content)
        try:
            (self.folder / name).hardlink_to(unnamed)
        except FileExistsError:
            return unnamed.stat().st_nlink == 2  # the server has linked it, but its answer was lost and asked again
        except OSError:  # the file system has no links
            return self._created_exclusively(name, content)
        else:
            return True
        finally:
            unnamed.unlink(missing_ok=True)

    def _created_exclusively(self, name: str, content: bytes) -> bool:
        try:
            with (self.folder / name).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none."""
        try:
            return read_bytes(self.folder / name)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a file in one step."""
        with atomic_file(self.folder / name, sync=False) as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        (self.folder / name).unlink(missing_ok=True)


@contextmanager
def lease(claims: Claims, *, shared: bool, wait: bool, times: LeaseTimes | None = None) -> Iterator[bool]:
    """Hold a lock by leases; yield whether it is held, which it always is if `wait`."""
    found = _Lease(claims, times or LeaseTimes())
    name = _acquired(found, shared=shared, wait=wait)
    if name is None:
        yield False
        return
    ended = threading.Event()
    renewing = threading.Thread(target=found.renew, args=(name, ended), daemon=True, name=f"lease {claims.place}")
    renewing.start()
    try:
        yield True
    finally:
        ended.set()
        renewing.join()
        with suppress(OSError):  # then it becomes stale
            found.release(name)


def _acquired(found: _Lease, *, shared: bool, wait: bool) -> str | None:
    """Return the name of the claim that is held, None if another holds the lock and `wait` is False."""
    delay, alone = POLL_SECONDS[0], None
    while True:
        alone = alone or found.take("sharing" if shared else "held")
        if alone and shared:
            name = found.share()
            found.release(alone)
            return name
        if alone and not found.sharers():
            return alone
        if not wait and not found.only_sharing():
            if alone:
                found.release(alone)
            return None
        if alone:
            found.write(alone, "held")
        time.sleep(delay)
        delay = min(2 * delay, POLL_SECONDS[1], found.times.renew)


class _Lease:
    """One process's view of a lock, and the claim by which it may hold it."""

    def __init__(self, claims: Claims, times: LeaseTimes) -> None:
        self.claims, self.times = claims, times
        self.owner = {"owner": uuid.uuid4().hex, **_process(os.getpid())}
        self.count = 0

    def take(self, state: State) -> str | None:
        """Create the next generation if the newest is free; return its name."""
        newest = self._newest()
        if newest and not self._free(str(newest)):
            return None
        name = str(newest + 1)
        if not self.claims.create(name, self._content(state)):
            return None
        generations = self._generations()
        if max(generations, default=0) > newest + 1 or (newest and self.claims.read(str(newest)) is None):
            self.claims.remove(name)  # the listing was old
            return None
        for each in generations:
            if each < newest:
                self.claims.remove(str(each))
        return name

    def share(self) -> str:
        """Create a claim that others may hold too; hold the lock alone meanwhile."""
        name = f"{SHARED}{self.owner['owner']}"
        self.claims.write(name, self._content("held"))
        return name

    def sharers(self) -> list[str]:
        """Return the claims of those who share the lock; stale ones are removed."""
        found = [name for name in self.claims.names() if name.startswith(SHARED)]
        for name in list(found):
            if self._free(name):
                self.claims.remove(name)
                found.remove(name)
        return found

    def only_sharing(self) -> bool:
        """Return whether the lock is held for a moment only, by one who is about to share it."""
        newest = self._newest()
        content = _parsed(self.claims.read(str(newest)) if newest else None)
        return content.get("state") in ("sharing", "released") and content.get("owner") != self.owner["owner"]

    def renew(self, name: str, ended: threading.Event) -> None:
        """Renew a claim until the end."""
        while not ended.wait(self.times.renew):
            try:
                if name.isdigit() and self._newest() > int(name):
                    _log.warning("Lost %s: it was not renewed in time. Work may be done twice", self.claims.place)
                    return
                self.write(name, "held")
            except OSError:
                continue  # the storage may be back before the lease is stale

    def write(self, name: str, state: State) -> None:
        """Write a claim of one's own."""
        self.claims.write(name, self._content(state))

    def release(self, name: str) -> None:
        """Give a claim up."""
        if name.startswith(SHARED):
            self.claims.remove(name)
        elif self._newest() == int(name):
            self.write(name, "released")

    def _content(self, state: State) -> bytes:
        self.count += 1
        return json.dumps({**self.owner, "state": state, "count": self.count}).encode()

    def _generations(self) -> list[int]:
        return sorted(int(name) for name in self.claims.names() if name.isdigit())

    def _newest(self) -> int:
        return max(self._generations(), default=0)

    def _free(self, name: str) -> bool:
        """Return whether a claim is released, its process is gone, or it has not changed for long."""
        raw = self.claims.read(name)
        if raw is None:
            return True
        content = _parsed(raw)
        if content.get("state") == "released" or _is_gone(content):
            return True
        return _unchanged(self.claims.place, name, raw) > self.times.stale


def _parsed(raw: bytes | None) -> dict[str, Any]:
    """Return the content of a claim; empty for one that is being written."""
    with suppress(ValueError):
        content = json.loads(raw or b"{}")
        if isinstance(content, dict):
            return content
    return {}


@cache
def _seen() -> dict[tuple[str, str], tuple[bytes, float]]:
    """Return what this process has seen of the claims of others, and when it first saw that."""
    return {}


def _unchanged(place: str, name: str, content: bytes) -> float:
    """Return for how many seconds this process has seen a claim unchanged."""
    seen, now = _seen(), time.monotonic()
    before = seen.get((place, name))
    if before is None or before[0] != content:
        seen[place, name] = content, now
        return 0.0
    return now - before[1]


def _process(number: int) -> dict[str, Any]:
    """Return what identifies a process on its machine, and the machine: containers do not see each other's."""
    return {"machine": _machine(), "process": number, "since": _since(number)}


@cache
def _machine() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return uuid.uuid4().hex


def _since(number: int) -> str:
    """Return when a process was started, in ticks after the machine; "" if there is none or it has ended."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""


def _is_gone(content: dict[str, Any]) -> bool:
    """Return whether the process of a claim ran on this machine and has ended; False if that cannot be known."""
    same = content.get("machine") == _machine() and content.get("since")
    return bool(same) and _since(content["process"]) != content["since"]
