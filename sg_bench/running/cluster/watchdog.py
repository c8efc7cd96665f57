"""A process that ends a local cluster when the process that started it is gone, however that died.

Ray's own agents notice the death of their raylet only after the time-outs of calls to a server that is dead too, some
30 seconds. Run as a file: `python -I -S watchdog.py FOLDER`, with a pipe from the driver as its input, whose end is the
driver's end. It imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

SESSION_VARIABLE = "SG_BENCH_RAY_SESSION"
"""Environment variable with the folder of the session, in all processes of a cluster that was started here."""
PREFIX = "sg-bench-ray-"
"""Beginning of the names of sessions' folders, which only their user can enter: Ray gives all below it mode 777."""
FILES = "ray"
"""In the folder of a session: Ray's own files, or a link to them."""
ROUNDS, PAUSE = 40, 0.1
"""Times to look for processes that were started while others were ended, and seconds in between."""


def processes_of(folder: Path) -> list[int]:
    """Return this user's processes that were started for the session in `folder`, without this process.

    They have it in their environment. Ray's workers and agents overwrite that by their title, which begins with
    "ray::", but have an open file in the folder, as their log.
    """
    marker, real = os.fsencode(f"{SESSION_VARIABLE}={folder}\0"), os.path.realpath(folder / FILES)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended, or is not ours
                if entry.stat().st_uid == os.getuid() and _belongs(entry, marker, real):
                    found.append(int(entry.name))
    return found


def _belongs(process: Path, marker: bytes, real: str) -> bool:
    if marker in process.joinpath("environ").read_bytes():
        return True
    if not process.joinpath("cmdline").read_bytes().startswith(b"ray::"):
        return False
    for link in process.joinpath("fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith(real + "/"):
                return True
    return False


def end_session(folder: Path, *, spare: Collection[int] = ()) -> bool:
    """Kill the processes of the session in `folder`, and remove it; return whether all have ended.

    Args:
        folder: of the session.
        spare: processes that are left alive.
    """
    left: list[int] = []
    for _ in range(ROUNDS):
        left = [process for process in processes_of(folder) if process not in spare]
        if not left:
            break
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(PAUSE)
    elsewhere = (folder / FILES).resolve().parent if (folder / FILES).is_symlink() else folder
    for each in (elsewhere, folder):  # the session is there until all is removed
        if each.name.startswith(PREFIX):
            shutil.rmtree(each, ignore_errors=True)
    return not left


def main() -> None:
    """Wait for the end of the input, then end the session in the folder that is named by the argument."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    end_session(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
