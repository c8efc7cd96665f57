"""Real clusters of `ray start` on loopback, each with a folder of its own, for tests that join them."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sg_bench
from sg_bench.running.cluster.watchdog import PREFIX, SESSION_VARIABLE, end_session

ROOT = Path(sg_bench.__file__).parents[1]
START_SECONDS = 120.0
RAY = str(Path(sys.executable).with_name("ray"))


@dataclass
class RealCluster:
    """Nodes on this machine; the first is the head."""

    folder: Path
    port: int
    environment: dict[str, str]
    nodes: list[subprocess.Popen[bytes]]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start_head(self, cpus: int, *options: str) -> None:
        self._start(
            [
                "--head",
                "--include-dashboard=false",
                f"--port={self.port}",
                f"--temp-dir={self.folder / 'ray'}",
                *options,
            ],
            cpus,
            {},
            (),
        )

    def add_node(self, cpus: int, environment: Mapping[str, str] = {}, before: Sequence[str] = ()) -> None:
        """Add a node; `before` is a command that runs what follows it, as `unshare`."""
        self._start([f"--address={self.address}"], cpus, environment, before)

    def _start(self, options: Sequence[str], cpus: int, environment: Mapping[str, str], before: Sequence[str]) -> None:
        command = [*before, RAY, "start", *options, "--block", f"--num-cpus={cpus}"]
        loopback = ["--node-ip-address=127.0.0.1", "--disable-usage-stats", "--object-store-memory=100000000"]
        agent = ["--dashboard-agent-listen-port=0"]
        with (self.folder / f"node-{len(self.nodes)}.log").open("wb") as log:
            self.nodes.append(
                subprocess.Popen(
                    [*command, *loopback, *agent],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**self.environment, **environment},
                    cwd=self.folder,
                    start_new_session=True,
                )
            )

    def wait(self) -> None:
        """Return once all nodes are there."""
        end = time.monotonic() + START_SECONDS
        text = ""
        while time.monotonic() < end:
            found = [(self.folder / f"node-{number}.log").read_text() for number in range(len(self.nodes))]
            if all("Ray runtime started" in each for each in found):
                return
            text = "\n".join(found)
            if any(node.poll() is not None for node in self.nodes):
                break
            time.sleep(0.2)
        raise AssertionError(text)


@contextmanager
def real_cluster(*, token: str = "", port: int = 0) -> Iterator[RealCluster]:
    """A cluster without nodes, open or with a token, which ends with the context."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    mode = {"RAY_AUTH_MODE": "token" if token else "disabled", "RAY_worker_niceness": "0"}  # or they starve
    if token:
        (folder / "token").write_text(token)
        mode["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**kept, **mode, SESSION_VARIABLE: str(folder), "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    cluster = RealCluster(folder, port or free_port(), environment, [])
    try:
        yield cluster
    finally:
        ended = end_session(folder)
        for node in cluster.nodes:
            node.wait(10)
        assert ended


def free_port() -> int:
    """Return a port that nothing uses, outside of those that Ray gives to workers."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    return port if port >= 20_000 else free_port()


def new_token() -> str:
    return secrets.token_hex(32)


def in_driver(script: str, *arguments: object, folder: Path, environment: Mapping[str, str] = {}) -> list[Any]:
    """Run a script in a process of its own and return what it printed, one JSON a line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "HOME": str(folder), **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]
