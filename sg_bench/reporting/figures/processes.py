"""Draws figures in processes of their own, while the caller writes tables; drawing is most of a report's time."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from sg_bench.machine import available_cores
from sg_bench.reporting.figures import layout
from sg_bench.reporting.figures.layout import Plot

FEWEST = 3
"""Fewest figures for which a process is started: it takes a second to import matplotlib."""
MOST = 3
"""Most processes besides the caller."""
COMMAND = "from sg_bench.reporting.figures.processes import draw_requested; draw_requested()"


@contextmanager
def saving(plots: Sequence[Plot], folder: Path) -> Iterator[None]:
    """Draw `plots` into `folder`: as many as possible during the context, the others at its end.

    Plain processes rather than multiprocessing's, which would import a caller's script again. A figure that fails there
    is drawn again here, where its error is raised.
    """
    cores = available_cores()
    waiting, children = deque(plots), list[subprocess.Popen[bytes]]()
    if len(plots) >= FEWEST:
        children = [_start() for _ in range(min(cores - 1, MOST, len(plots) // 2))]
    threads = [Thread(target=_request, args=(child, waiting, folder), daemon=True) for child in children]
    try:
        for thread in threads:
            thread.start()
        yield
        _draw(waiting, folder)
        for thread in threads:
            thread.join()
        _draw(waiting, folder)
    finally:
        waiting.clear()
        for child in children:
            child.kill()
            child.communicate()


def draw_requested() -> None:
    """Draw the figures that standard input asks for, and answer each with its name."""
    while True:
        try:
            plot, folder = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by `_request` of the parent process
        except EOFError:
            return
        layout.save(plot, folder)
        sys.stdout.write(f"{plot.name}\n")
        sys.stdout.flush()


def _start() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    command = [sys.executable, "-c", COMMAND]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, env=environment)  # noqa: S603 - a constant


def _request(child: subprocess.Popen[bytes], waiting: deque[Plot], folder: Path) -> None:
    """Have one process draw figures from the back until none is waiting; give back the one at which it fails."""
    assert child.stdin is not None
    assert child.stdout is not None
    for plot in _taken(waiting.pop):
        answer = b""
        with suppress(OSError):
            pickle.dump((plot, folder), child.stdin)
            child.stdin.flush()
            answer = child.stdout.readline()
        if answer.decode().strip() != plot.name:
            waiting.append(plot)
            return


def _draw(waiting: deque[Plot], folder: Path) -> None:
    """Draw figures from the front until none is waiting."""
    for plot in _taken(waiting.popleft):
        layout.save(plot, folder)


def _taken(take: Callable[[], Plot]) -> Iterator[Plot]:
    """Yield what `take` takes from a deque that other threads take from as well, until it is empty."""
    while True:
        try:
            plot = take()
        except IndexError:
            return
        yield plot
