"""The folder of a local cluster: short enough for sockets, for this user only, and gone after the cluster.

A process of its own, the watchdog, ends the cluster when the driver is killed; what a machine's crash leaves is swept
by the next run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sg_bench.errors import SgBenchError
from sg_bench.running.cluster import watchdog
from sg_bench.running.cluster.watchdog import FILES, PREFIX, SESSION_VARIABLE, end_session

SOCKET_LIMIT = 107
"""Bytes that the path of a socket may have on Linux."""
RAY_SUFFIX = f"/{FILES}/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path that Ray appends to the folder of a session for a socket."""
NAME_LENGTH = len(PREFIX) + 8
YOUNG = 60.0
"""Seconds after which a folder without a living owner is one that a dead run left, and not one that is being made."""
OWNER = "owner"
"""In the folder of a session: a file that its driver holds locked."""


class Session:
    """The folder and the watchdog of a cluster that this process starts.

    Args:
        folder: from `new_session`.
        lock: descriptor of the locked file `owner`; held until the end of this process or of the session.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder, self._lock = folder, lock
        command = [sys.executable, "-I", "-S", watchdog.__file__, str(folder)]
        null = subprocess.DEVNULL
        self._watchdog = subprocess.Popen(  # noqa: S603 # this package's own file
            command, stdin=subprocess.PIPE, stdout=null, stderr=null, start_new_session=True
        )

    @property
    def files(self) -> Path:
        """Return the folder for Ray's own files, under a short path."""
        return self.folder / FILES

    @property
    def token(self) -> Path:
        """Return the file with the token of the cluster."""
        return self.folder / "token"

    def environment(self) -> dict[str, str]:
        """Return the variables that every process of the cluster has."""
        return {SESSION_VARIABLE: str(self.folder), "RAY_AUTH_TOKEN_PATH": str(self.token)}

    def end(self) -> bool:
        """End what is left of the cluster and remove its folder; return whether all of its processes have ended."""
        ended = end_session(self.folder, spare={os.getpid()})
        if self._watchdog.stdin:
            self._watchdog.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._watchdog.wait(timeout=5)
        os.close(self._lock)
        return ended


def new_session() -> Session:
    """Make the folder of a session, with a new token, and start its watchdog.

    Ray's files are kept where TMPDIR says. Where that path is too long for a socket, the session is in the first short
    folder that this user can write to, and links there.

    Raises:
        SgBenchError: no such folder is short enough.
    """
    spacious = Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=short_folder(temporary_folders())))  # mode 0700
    lock = os.open(folder / OWNER, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, b"%d\n" % os.getpid())
    if folder.parent == spacious:
        (folder / FILES).mkdir()
    else:
        files = Path(tempfile.mkdtemp(prefix=PREFIX, dir=spacious)) / FILES
        files.mkdir()
        (folder / FILES).symlink_to(files)
    (folder / "token").touch(0o600)
    (folder / "token").write_text(secrets.token_hex(32), encoding="ascii")
    return Session(folder, lock)


def temporary_folders() -> list[Path]:
    """Return where a session may be, the most wanted first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    found = [Path(tempfile.gettempdir()), *([Path(runtime)] if runtime else []), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 # mkdtemp makes names that nobody else has
    return list(dict.fromkeys(found))


def short_folder(folders: Sequence[Path]) -> Path:
    """Return the first folder that is writable and short enough for the sockets of a session in it.

    Raises:
        SgBenchError: names the limit.
    """
    limit = SOCKET_LIMIT - len(RAY_SUFFIX) - NAME_LENGTH - 1
    for folder in folders:
        if len(os.fsencode(folder)) <= limit and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    tried = ", ".join(map(str, folders))
    problem = f"Ray needs a folder for its sockets whose path has at most {limit} bytes; none of these does: {tried}"
    raise SgBenchError(problem, hint="Set TMPDIR to a short path as /tmp, or use --backend local")


def sweep_sessions(folders: Sequence[Path]) -> int:
    """End and remove the sessions of this user whose driver has died without its watchdog; return how many."""
    swept = 0
    for folder in (path for parent in folders for path in parent.glob(f"{PREFIX}*")):
        lock = _abandoned(folder)
        if lock is not None:
            end_session(folder)
            os.close(lock)
            swept += 1
    return swept


def _abandoned(folder: Path) -> int | None:
    """Return a descriptor that locks the session in a folder of this user if its driver has died, else None."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return None
        lock = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # not a session, or one that is being made or removed
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.read(lock, 16) or time.time() - folder.stat().st_mtime > YOUNG:
            return lock
    os.close(lock)
    return None
