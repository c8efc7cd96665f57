"""The live view of a run on a terminal: for each stage a bar, what runs and has failed, and the rate; and GPU use."""

from __future__ import annotations

import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import Any

from sg_bench.planning import STAGES
from sg_bench.recipes import RecipeKind

QUERY = "--query-gpu=index,utilization.gpu,memory.used,memory.total"
QUERY_SECONDS = 5.0
"""How often the GPUs of this machine are asked for their use, and how long an answer may take."""


@dataclass(frozen=True)
class StageView:
    """What the bar of one stage shows."""

    completed: float
    """Jobs, those that run by their part."""
    running: int
    failed: int
    a_minute: float
    """Jobs that end in a minute."""

    @property
    def state(self) -> str:
        """Return "2 running, 1 failed, 14 a minute", without what is zero."""
        rate = f"{self.a_minute:.0f} a minute" if self.a_minute >= 1 else f"{60 * self.a_minute:.1f} an hour"
        texts = [
            f"{self.running} running" if self.running else "",
            f"{self.failed} failed" if self.failed else "",
            rate if self.a_minute else "",
        ]
        return ", ".join(text for text in texts if text)


class LiveView:
    """One progress bar for each stage, drawn by rich on standard error, and a line on the GPUs of this machine."""

    def __init__(self, totals: dict[RecipeKind, int]) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.text import Text

        columns: list[Any] = [
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
        ]
        console, self.gpus = Console(stderr=True), GpuUse()
        self.bars = Bars(*columns, console=console)
        order = [kind for kind in STAGES if kind in totals]
        self.tasks = {
            kind: self.bars.add_task(STAGES[kind], total=totals[kind], start=False, state="") for kind in order
        }
        self.live = Live(
            console=console,
            refresh_per_second=4,
            get_renderable=lambda: Group(self.bars, *([Text(self.gpus.text)] if self.gpus.text else [])),
        )

    def start(self) -> None:
        """Draw from now on."""
        self.gpus.start()
        self.live.start()

    def stop(self) -> None:
        """Leave the last state on the terminal."""
        self.gpus.stop()
        self.live.stop()

    def draw(self, kind: RecipeKind, view: StageView) -> None:
        """Show the state of a stage."""
        task = self.tasks[kind]
        if not self.bars.tasks[task].started:
            self.bars.start_task(task)
        self.bars.update(task, completed=view.completed, state=view.state)


class GpuUse:
    """The use of this machine's GPUs, asked of `nvidia-smi` by a thread; nothing where there is none."""

    def __init__(self) -> None:
        self.text = ""
        self._ended = threading.Event()

    def start(self) -> None:
        """Ask from now on, if there is a driver to ask."""
        program = shutil.which("nvidia-smi")
        if program:
            threading.Thread(target=self._watch, args=(program,), daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _watch(self, program: str) -> None:
        while not self._ended.wait(QUERY_SECONDS):
            command = (program, QUERY, "--format=csv,noheader,nounits")
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS)  # noqa: S603
            except (OSError, subprocess.SubprocessError):
                return
            self.text = gpu_line(done.stdout)


def gpu_line(listed: str) -> str:
    """Return "GPU 0: 87 %, 12.1 of 139.8 GiB" for each line of index, percent, used and total MiB; "" for none."""
    rows = [[part.strip() for part in line.split(",")] for line in listed.splitlines() if line.count(",") == 3]
    return "; ".join(f"GPU {row[0]}: {row[1]} %, {_gib(row[2])} of {_gib(row[3])} GiB" for row in rows)


def _gib(mib: str) -> str:
    try:
        return f"{float(mib) / 1024:.1f}"
    except ValueError:
        return "?"
