"""Keeping what Ray writes off the terminal: it goes to a file in the workspace."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from sg_bench.workspace import Workspace

KEPT = 20
"""Newest logs of a workspace that are kept."""
TAIL = 1 << 14
"""Bytes that are kept of each of Ray's own files."""
LOGGERS = ("ray", "ray.tune", "ray.train", "ray.data")


@contextmanager
def ray_output(workspace: Workspace) -> Iterator[Path]:
    """Send what Ray prints, logs and dumps to a new file of the workspace, which is yielded; the rest stays as it was.

    Descriptors 1 and 2 are the file meanwhile, for Ray's C++ parts and all processes that are started; `sys.stdout` and
    `sys.stderr` still write to the terminal, unless Ray's Python code writes to them.
    """
    folder = workspace.path("logs")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"ray-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    _remove_old(folder)
    with path.open("a", encoding="utf-8", errors="replace", buffering=1) as log, ExitStack() as stack:
        _redirect_loggers(log, stack)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = getattr(sys, name)
            terminal = _without_descriptor(stream, number, stack)
            setattr(sys, name, _Divided(terminal, log))
            stack.callback(setattr, sys, name, stream)
            _redirect(number, log.fileno(), stack)
        yield path


class _Divided:
    """A text stream that writes to the terminal, except what Ray's code writes.

    Whose text it is, the innermost function on the stack that is Ray's or this package's decides.
    """

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._terminal, self._log = terminal, log

    def write(self, text: str) -> int:
        stream = self._log if _written_by_ray(sys._getframe(1)) else self._terminal
        return stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


def _written_by_ray(frame: FrameType | None) -> bool:
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in ("ray", "sg_bench"):
            return package == "ray"
        frame = frame.f_back
    return False


def _without_descriptor(stream: TextIO, number: int, stack: ExitStack) -> TextIO:
    """Return a stream to where `stream` writes that does not use descriptor `number`."""
    try:
        if stream.fileno() != number:
            return stream
        stream.flush()
        copy = os.fdopen(os.dup(number), "w", encoding=stream.encoding, errors=stream.errors, buffering=1)
    except (OSError, ValueError, AttributeError):  # replaced by an object without a descriptor, as in tests
        return stream
    stack.callback(copy.close)
    return copy


def _redirect(number: int, target: int, stack: ExitStack) -> None:
    """Let a descriptor be `target` until the stack ends; one that is closed stays closed."""
    try:
        saved = os.dup(number)
    except OSError:
        return
    stack.callback(os.close, saved)
    stack.callback(os.dup2, saved, number)
    os.dup2(target, number)


def _redirect_loggers(log: TextIO, stack: ExitStack) -> None:
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("ray")
    kept = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [handler], False

    def restore() -> None:
        logger.handlers, logger.propagate = kept

    stack.callback(restore)


def keep_session_logs(log: Path, files: Path) -> None:
    """Append to `log` the ends of what the processes of the session in `files` wrote as errors."""
    with contextlib.suppress(OSError), log.open("ab") as out:
        names = ("*.err", "raylet.out", "gcs_server.out")
        for path in sorted(path for name in names for path in files.glob(f"session_latest/logs/{name}")):
            size = path.stat().st_size
            if size:
                with path.open("rb") as text:
                    text.seek(max(0, size - TAIL))
                    out.write(f"\n---- {path.name}\n".encode() + text.read())


def _remove_old(folder: Path) -> None:
    """Remove all logs of earlier runs but the newest."""
    for path in sorted(folder.glob("ray-*.log"))[: -(KEPT - 1)]:
        path.unlink(missing_ok=True)
