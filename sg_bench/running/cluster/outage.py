"""Noticing that a cluster is gone: Ray itself waits for a minute, and then ends the driver without a word."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from sg_bench.errors import SgBenchError

RESUME = "What is finished is kept: run the same command again"
LOOK_SECONDS, ASK_SECONDS = 0.5, 5.0
"""Between looks at processes of this machine, and between connections to a cluster that was joined."""
SILENCE_SECONDS = 45.0
"""After which a cluster that was joined is gone; Ray would end this process after 60."""
CONNECT_SECONDS = 5.0
SERVERS = ("gcs_server", "raylet")
"""Ray's processes without which a cluster of one machine is lost."""


class LostClusterError(SgBenchError):
    """Ray itself has stopped."""


@contextmanager
def watched(lost: Callable[[], str], act: Callable[[str], None], pause: float = LOOK_SECONDS) -> Iterator[None]:
    """Call `act` with the problem, once and in a thread, as soon as `lost` returns one; it is asked every `pause`."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(pause):
            problem = lost()
            if problem and not ended.is_set():
                act(problem)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def ended_server() -> str:
    """Return which of the servers of the cluster that this process has started has ended, "" while they run."""
    node: Any = ray._private.worker._global_node
    for name in SERVERS:
        for each in node.all_processes.get(name, ()) if node else ():
            code = each.process.poll()
            if code is not None:
                return f"Ray's {name} ended unexpectedly ({_described(code)})"
    return ""


def _described(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with code {code}"


class Silence:
    """How long nothing has listened at the address of a cluster, HOST:PORT."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.heard_at = time.monotonic()

    def __call__(self) -> str:
        """Return a problem if nothing has listened there for SILENCE_SECONDS, else ""."""
        host, _, port = self.where.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        except OSError:
            silent = time.monotonic() - self.heard_at
            return f"the Ray cluster at {self.where} has not answered for {silent:.0f} s" * (silent > SILENCE_SECONDS)
        self.heard_at = time.monotonic()
        return ""
