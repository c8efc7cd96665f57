"""Runs the command as a user does, in a process of its own."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

TINY = Path(__file__).parent / "tiny.yaml"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def sg_bench() -> Run:
    """`sg_bench("run", "--suite", ...)`: the finished process, its output as text."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sg_bench", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)

    return run


@pytest.fixture(scope="session")
def start() -> Callable[..., object]:
    """`with start("run", ...) as process`: a process that is killed at the end if it still runs.

    It reacts to SIGINT even if this process ignores it, as a shell lets its background jobs do.
    """

    @contextmanager
    def started(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "sg_bench", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    return started


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, sg_bench: Run) -> Path:
    """A folder with `work` and `out` of a tiny run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    done = sg_bench("run", "--suite", TINY, "--work", folder / "work", "--out", folder / "out", "--jobs", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "output.txt").write_text(done.stdout)
    return folder


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the digest of every file under `folder`, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tables(folder: Path) -> dict[str, str]:
    """Return the fingerprint of a report's tables; what they cost is no result."""
    found = fingerprint(folder / "out" / "tables")
    return {name: digest for name, digest in found.items() if not name.startswith("cost.")}


def alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below `pid`."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            with suppress(OSError):  # it may end meanwhile
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [below for child in found for below in descendants(child)]
