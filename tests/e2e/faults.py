"""Faults that strike a run at random moments, one after another, and what becomes of its cells.

`Campaign` starts the same command again and again until so many faults have struck it. What a run loses, computes twice
or records as a failure by them is counted: all three must be 0, and no process may be left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.conftest import alive, descendants

Start = Callable[..., Any]
Fault = Callable[["subprocess.Popen[str]", random.Random], "bool | None"]
"""Strikes a process; returns whether the run ends by it, or None if there was nothing to strike."""
SECOND_DRIVER = "a second driver"
"""The fault that the campaign itself makes: another run of the same command shares the workspace until the first is
struck by what ends it, and is killed then."""
EXIT_CODES = {"interrupted": 130, "terminated": 143}
"""Of a run that is stopped by a signal which it can handle."""
START_SECONDS = 60.0
"""In which what is to be struck must have started."""
END_SECONDS = 20.0
"""In which the processes of a run that was killed must have ended."""


@dataclass(frozen=True)
class Strike:
    """One fault, and what it did."""

    fault: str
    after: float
    """Seconds since the run's start, or the strike before."""
    cells: int
    """Finished before the next run began."""
    ended: float | None
    """Seconds until all processes of the run had ended; None if the run went on."""
    left: int
    """Processes alive END_SECONDS after the run was killed."""


@dataclass
class Cells:
    """The records of a workspace's finished cells, watched for what must never happen."""

    folder: Path
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    lost: int = 0
    repeated: int = 0
    invented: int = 0

    def look(self) -> int:
        """Count lost, repeated and failed cells since the last look; return how many are finished."""
        now = {path.name: _identity(path) for path in self.folder.glob("*.json")}
        self.lost += len(self.seen.keys() - now.keys())
        self.repeated += sum(now[name] != identity for name, identity in self.seen.items() if name in now)
        self.invented += sum(json.loads((self.folder / name).read_text())["status"] == "failed" for name in now)
        self.seen = now
        return len(now)


class Campaign:
    """Runs `command` with --work and --out in folders of its own, struck by `faults` until `count` have struck.

    A run that ends in peace is followed by one in a new workspace, so that there is always work to strike.

    Args:
        start: starts the command in a process; see conftest.py.
        command: without --work and --out.
        folder: for the workspaces.
        faults: by name; SECOND_DRIVER is always one.
        longest: most seconds between the start, or a strike, and the next one.
        seed: of the choice of faults and moments.
    """

    def __init__(
        self,
        start: Start,
        command: tuple[Any, ...],
        folder: Path,
        faults: dict[str, Fault],
        *,
        longest: float,
        seed: int,
    ) -> None:
        self.start, self.command, self.folder, self.faults = start, command, folder, faults | {SECOND_DRIVER: _no_fault}
        self.longest, self.random = longest, random.Random(seed)
        self.strikes: list[Strike] = []
        self.cells: list[Cells] = []
        self.finished: list[Path] = []
        self.companions: list[Any] = []

    def run(self, count: int) -> None:
        """Strike `count` times, then let the last run end."""
        names: list[str] = []
        while len(self.strikes) < count or not self._at_peace():
            names = names or self.random.sample(list(self.faults), len(self.faults))
            self._one_run(names, count)

    def report(self) -> str:
        """Return a table of the strikes, and the counts below it."""
        rows = [f"{'fault':<24}{'after':>8}{'cells':>7}{'ended':>8}{'left':>6}"]
        for each in self.strikes:
            ended = "went on" if each.ended is None else f"{each.ended:.1f} s"
            rows.append(f"{each.fault:<24}{each.after:>6.1f} s{each.cells:>7}{ended:>8}{each.left:>6}")
        rows.append(", ".join(f"{count} cells {name}" for name, count in self.counts().items()))
        return "\n".join(rows)

    def counts(self) -> dict[str, int]:
        """Return how many cells were lost, computed twice, and recorded as failures."""
        return {name: sum(getattr(cells, name) for cells in self.cells) for name in ("lost", "repeated", "invented")}

    def _at_peace(self) -> bool:
        return bool(self.cells) and len(self.finished) == len(self.cells)

    def _one_run(self, names: list[str], count: int) -> None:
        """Start the command, strike it until it ends, and wait for the second driver if there was one."""
        if self._at_peace() or not self.cells:
            self.cells.append(Cells(self.folder / str(len(self.cells)) / "work" / "cells"))
        place = self.cells[-1].folder.parents[1]
        command = (*self.command, "--work", place / "work", "--out", place / "out")
        with ExitStack() as second, self.start(*command) as process:
            struck = False
            while not struck and names and len(self.strikes) < count:
                after = self.random.uniform(0.3, self.longest)
                if _ended(process, after):
                    break
                name = names.pop()
                if name == SECOND_DRIVER:
                    self.companions.append(second.enter_context(self.start(*command)))
                struck = self._strike(process, name, after)
            if not struck:
                self._ends_well(process)
                self.finished.append(place)
            for each in self.companions:  # killed by the context
                if not struck:
                    self._ends_well(each)
            self.companions.clear()
        self.cells[-1].look()

    def _ends_well(self, process: subprocess.Popen[str]) -> None:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, f"{output}\n{self.report()}"

    def _strike(self, process: subprocess.Popen[str], name: str, after: float) -> bool:
        """Strike once; return whether the run ended by it."""
        if name in EXIT_CODES and not _awaited(lambda: descendants(process.pid), process):
            return False  # a process that still imports has nothing to explain, and nothing to leave behind
        below = descendants(process.pid)
        begun = time.monotonic()
        ends = self.faults[name](process, self.random)
        if ends is None:
            return False
        left, seconds = 0, None
        if ends:
            output, _ = process.communicate(timeout=60)
            assert process.returncode == EXIT_CODES.get(name, -signal.SIGKILL), f"{name}: {output}\n{self.report()}"
            assert "Traceback" not in output or name not in EXIT_CODES, f"{name}: {output}"
            while (left := sum(map(alive, below))) and time.monotonic() - begun < END_SECONDS:
                time.sleep(0.05)
            seconds = time.monotonic() - begun
        self.strikes.append(Strike(name, after, self.cells[-1].look(), seconds, left))
        return ends


def _no_fault(process: subprocess.Popen[str], _: random.Random) -> bool:
    return False


def kill_driver(process: subprocess.Popen[str], _: random.Random) -> bool:
    """Kill the run itself."""
    process.kill()
    return True


def interrupt(process: subprocess.Popen[str], _: random.Random) -> bool:
    """Press Ctrl-C."""
    process.send_signal(signal.SIGINT)
    return True


def terminate(process: subprocess.Popen[str], _: random.Random) -> bool:
    """Ask the run to end, as batch systems do."""
    process.send_signal(signal.SIGTERM)
    return True


def _awaited(find: Callable[[], list[int]], process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that `find` finds, as soon as there are any; none if the run ends before."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if found := find():
            return found
        time.sleep(0.05)
    return []


def kill_worker(process: subprocess.Popen[str], draw: random.Random) -> bool | None:
    """Kill one of the worker processes of the local backend."""
    return _kill_one_of(_awaited(lambda: local_workers(process.pid), process), draw)


def local_workers(pid: int) -> list[int]:
    """Return the worker processes of a run on the local backend: the children of its server of forks."""
    servers = [child for child in descendants(pid) if "multiprocessing.forkserver" in command_line(child)]
    return [child for server in servers for child in descendants(server)]


def kill_titled(title: str) -> Fault:
    """Return a fault that kills one process below the run whose command line has `title` in it."""

    def strike(process: subprocess.Popen[str], draw: random.Random) -> bool | None:
        return _kill_one_of(_awaited(lambda: titled(process.pid), process), draw)

    def titled(pid: int) -> list[int]:
        return [each for each in descendants(pid) if title in command_line(each)]

    return strike


def _kill_one_of(pids: list[int], draw: random.Random) -> bool | None:
    if not pids:
        return None
    try:
        os.kill(draw.choice(pids), signal.SIGKILL)
    except ProcessLookupError:  # it has just ended by itself
        return None
    return False


def command_line(pid: int) -> str:
    """Return a process's command line, "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait for so long; return whether the process has ended."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
