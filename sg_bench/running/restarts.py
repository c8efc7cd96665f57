"""Running the command of this process again, where what it computes with has failed and cannot be mended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

COUNT = "SG_BENCH_RESTARTS"
"""Environment variable with the number of restarts so far."""
MOST = 3
"""Restarts of one command: what fails again and again is not mended by one more."""

_environments: list[dict[str, str]] = []


@contextmanager
def restartable() -> Iterator[None]:
    """Let `restart_or_end` end or replace this process during the block: for command lines, which have no other use."""
    _environments.append(dict(os.environ))
    try:
        yield
    finally:
        _environments.pop()


def can_restart() -> bool:
    """Return whether this process is a command line's that may be ended or replaced."""
    return bool(_environments)


def restart_or_end(problem: str, again: str, hint: str) -> NoReturn:
    """Replace this process by a new one with the same command, or end it with code 1 after MOST restarts.

    It may be called from any thread, whatever the main thread is doing. Locks and sockets close; the id stays.

    Args:
        problem: what has failed, printed in any case.
        again: printed if the command is run again.
        hint: printed if it is not.
    """
    environment = dict(_environments[-1])
    count = int(environment.get(COUNT, "0")) + 1
    if count > MOST:
        end(problem, hint)
    _write(f"{problem}. {again} ({count} of {MOST})")
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment | {COUNT: str(count)})  # noqa: S606


def end(problem: str, hint: str) -> NoReturn:
    """End this process with code 1, from any thread, with one line."""
    _write(f"Error: {problem}. {hint}")
    os._exit(1)


def _write(line: str) -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
