"""Files that appear at once or not at all, and folders that are replaced in one step."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, ParamSpec, TypeVar

from sg_bench.errors import UsageError

OLD = ".old"
"""Ending of a folder that is being replaced, or is about to replace another."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of renameat2 in linux/fcntl.h and linux/fs.h."""
READ_ATTEMPTS = 4
"""Reads of a file whose handle is stale."""
RETRY_SECONDS = 0.05
"""Wait before a file with a stale handle is opened again; doubled each time."""
P = ParamSpec("P")
T = TypeVar("T")


def move_aside(path: Path, target: Path) -> Path:
    """Rename a file or folder to `target`, or with a number after it if that exists; return the new path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name, number = target.name, 1
    while target.exists():
        number += 1
        target = target.with_name(f"{name}.{number}")
    path.rename(target)
    return target


def replace_folder(new: Path, final: Path) -> None:
    """Rename the complete folder `new` to `final`, once it is on the disk; an earlier `final` is removed after that.

    The two are exchanged in one step, so at any time `final` is either folder, complete. Where the file system cannot
    exchange names, the earlier one is renamed first; `restore_folder` undoes that if a crash comes between.
    """
    sync_tree(new)
    old = final.with_name(final.name + OLD)
    if not final.exists():
        new.rename(final)
    else:
        new.rename(old)
        if not _exchange(old, final):
            old.rename(new)
            final.rename(old)
            new.rename(final)
    sync_folder(final.parent)
    if old.exists():
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; return whether the system can (Linux, most file systems)."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


def restore_folder(final: Path) -> None:
    """Undo or finish the replacement of `final` that a crash has interrupted."""
    old = final.with_name(final.name + OLD)
    if old.exists() and final.exists():
        shutil.rmtree(old)
    elif old.exists():
        old.rename(final)
        sync_folder(final.parent)


def steady(read: Callable[P, T], *arguments: P.args, **settings: P.kwargs) -> T:
    """Return what `read` returns, called again when a network file system says that its file was replaced meanwhile.

    Raises:
        OSError: as `read` does; ESTALE after READ_ATTEMPTS attempts.
    """
    for attempt in range(READ_ATTEMPTS - 1):
        try:
            return read(*arguments, **settings)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            time.sleep(RETRY_SECONDS * 2**attempt)
    return read(*arguments, **settings)


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: it cannot be read.
    """
    return steady(path.read_bytes)


def sync_tree(folder: Path) -> None:
    """Wait until all files and folders under `folder` are on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write, which becomes `path` at the end; a reader, or a crash, sees the old content or the new.

    Without `sync` that holds when the process is killed, and not when the machine stops before `sync_tree`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        if sync:
            sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_writable(folder: Path, option: str) -> None:
    """Make a folder, and check that files can be written into it.

    Args:
        folder: need not exist.
        option: of the command line, which names it.

    Raises:
        UsageError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"{option} {folder} cannot be written: {error.strerror or error}"
        raise UsageError(problem, hint="Name another folder, or correct its permissions") from error


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old content or the new, never a part."""
    with atomic_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_changed(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` as `write_atomic` does, unless the file already has this content."""
    raw = data.encode() if isinstance(data, str) else data
    if not path.is_file() or path.read_bytes() != raw:
        write_atomic(path, raw)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as sorted, indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON in `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON; NaN and infinities, which Python would read and never write here, are none.
    """
    return parsed_json(read_bytes(path))


def parsed_json(text: bytes) -> Any:
    """Return the JSON of a text, as `read_json` does."""
    return json.loads(text, parse_constant=_refused)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def file_state(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or written to, or None if it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def file_digest(path: Path) -> str:
    """Return the SHA-256 (64 hex digits) of a file's content."""

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return steady(digest)
