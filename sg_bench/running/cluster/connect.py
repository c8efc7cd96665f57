"""Starting or joining a Ray cluster, and leaving it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
from ray._private import services

from sg_bench.errors import SgBenchError
from sg_bench.machine import available_cores
from sg_bench.running.cluster.authentication import MODE, authentication, joining_mode
from sg_bench.running.cluster.demand import RunDemand, await_resources, check_local
from sg_bench.running.cluster.nodes import MARKERS, require_nodes, run_marker
from sg_bench.running.cluster.options import ClusterOptions
from sg_bench.running.cluster.outage import ASK_SECONDS, RESUME, Silence, ended_server, watched
from sg_bench.running.cluster.output import keep_session_logs, ray_output
from sg_bench.running.cluster.session import new_session, sweep_sessions, temporary_folders
from sg_bench.running.cluster.shipping import runtime_environment
from sg_bench.running.interrupts import stopping
from sg_bench.running.packing import list_cards
from sg_bench.running.restarts import can_restart, end, restart_or_end
from sg_bench.workspace import LockedElsewhere, Workspace

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection to HOST:PORT."""
LOCAL = "local"
"""The address that starts a cluster on this machine."""


class Connection:
    """A cluster that this process has started or joined; nothing that Ray writes reaches the terminal meanwhile.

    Args:
        workspace: gets Ray's log, in `logs/`.
        options: which cluster, and how it is joined.
        jobs: processors that were asked for by --jobs: of the local cluster, else of all nodes.
        workers: of the largest pretraining of the run.
        checked: whether resources and nodes are checked when joining; no run should do without.
        log: prints one line.

    Raises:
        UsageError: the cluster has less than is asked, authenticates otherwise, or its nodes differ.
        SgBenchError: there is no cluster, it cannot be started, or no node came in time.
    """

    def __init__(
        self,
        workspace: Workspace,
        options: ClusterOptions,
        *,
        jobs: int | None = None,
        workers: int = 1,
        checked: bool = True,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.workspace, self.local = workspace, options.address == LOCAL
        demand = RunDemand(workers, 1 if self.local else jobs or 1)
        with ExitStack() as stack:
            if self.local:
                check_local(demand, jobs or available_cores(), len(list_cards()))
            stack.enter_context(run_folders(workspace))
            self.log_file: Path = stack.enter_context(ray_output(workspace))
            """What Ray wrote."""
            if self.local:
                stack.enter_context(_started(jobs or available_cores(), self.log_file))
            else:
                stack.enter_context(_joined(workspace, options, log))
                if checked:
                    await_resources(demand, options.wait, log)
                    require_nodes(workspace)
            self._stack = stack.pop_all()

    def close(self, *, at_once: bool = False) -> None:
        """Leave the cluster; one that was started here ends, with all of its processes and files.

        With `at_once` Ray is not asked to end anything: its processes are killed, and a cluster that was joined ends
        what this process has started when this process ends.
        """
        if not at_once:
            self._stack.close()
            return
        with contextlib.suppress(KeyboardInterrupt):
            self._stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _started(processors: int, log_file: Path) -> Iterator[None]:
    """Start a cluster on this machine, with a token of its own; it ends with the context, or with this process."""
    sweep_sessions(temporary_folders())
    session = new_session()
    mode = os.environ.get(MODE, "token")

    def lost(problem: str) -> None:
        if can_restart() and not stopping():
            keep_session_logs(log_file, session.files)
            restart_or_end(
                problem,
                "Nothing that is finished is lost: the same command starts again on a new cluster",
                f"{RESUME}. What Ray wrote is in {log_file}",
            )

    try:
        with authentication({MODE: mode, **session.environment()}, without=("RAY_AUTH_TOKEN",)):
            try:
                here: dict[str, Any] = {
                    "num_cpus": processors,
                    "include_dashboard": False,
                    "_temp_dir": str(session.files),
                }
                with _initialised(LOCAL, **here, runtime_env=runtime_environment()), watched(ended_server, lost):
                    yield
            finally:
                keep_session_logs(log_file, session.files)
    finally:
        session.end()


@contextmanager
def _joined(workspace: Workspace, options: ClusterOptions, log: Callable[[str], None]) -> Iterator[None]:
    """Join a running cluster in its own mode of authentication; the context's end leaves it."""
    where = _resolved(options.address)
    _check_reachable(where, options.address)
    name = where if options.address == "auto" else options.address
    mode = joining_mode(where, name)
    if mode == "disabled":
        log(f"The Ray cluster at {name} is open: it uses no authentication")
    code = tempfile.TemporaryDirectory(prefix="sg-bench-code-")
    with authentication({MODE: mode}), code as folder, run_marker(workspace) as marker:
        environment = runtime_environment(Path(folder) if options.ship_code else None)
        environment["env_vars"] |= marker
        with _initialised(where, runtime_env=environment), watched(Silence(where), _end, ASK_SECONDS):
            yield


def _end(problem: str) -> None:
    if can_restart() and not stopping():
        end(problem, RESUME)


def _init(address: str, **options: Any) -> None:
    """Call `ray.init` without its changes to loggers and signal handlers."""
    # A job of `ray job submit` has an environment already: this one is added to it, and goes before.
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=True, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what = "Ray cannot be started" if address == LOCAL else f"no Ray cluster at '{address}'"
        hint = "What Ray wrote is in the newest logs/ray-*.log of the workspace; --backend local needs no Ray"
        raise SgBenchError(f"{what}: {lines[0]}", hint=hint) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def _initialised(address: str, **options: Any) -> Iterator[None]:
    """Connect to Ray; disconnect at the end, unless that is an interruption, for which Ray takes too long."""
    try:
        _init(address, **options)
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        _shutdown()
        raise
    _shutdown()


def _shutdown() -> None:
    with contextlib.suppress(Exception):  # whatever it is, what is left is killed
        ray.shutdown()


def _resolved(address: str) -> str:
    """Return HOST:PORT of an address, or of the cluster that "auto" finds.

    Raises:
        SgBenchError: there is none.
    """
    try:
        found = services.canonicalize_bootstrap_address(address)
    except (ValueError, OSError, ConnectionError) as error:
        raise SgBenchError(f"no Ray cluster at '{address}': {error}", hint="Use --ray-address local") from error
    if found is None:
        raise SgBenchError(
            f"no Ray cluster at '{address}': none runs on this machine",
            hint="Give HOST:PORT, or use --ray-address local",
        )
    return str(found)


def _check_reachable(where: str, address: str) -> None:
    """Raise SgBenchError if nothing listens at HOST:PORT: Ray itself would wait for minutes."""
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()
    except (OSError, ValueError) as error:
        raise SgBenchError(f"no Ray cluster at '{address}': {error}", hint="Use --ray-address local") from error


@contextmanager
def run_folders(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's folders of Ray's runs; before and after that, those that no living run holds are removed."""
    _remove_runs(workspace)
    try:
        with workspace.lock("ray", shared=True):
            yield
    finally:
        _remove_runs(workspace)


def _remove_runs(workspace: Workspace) -> None:
    with contextlib.suppress(LockedElsewhere), workspace.lock("ray", wait=False):
        for path in [*workspace.path("ray").glob("*"), *workspace.root.glob(f"{MARKERS}*")]:
            shutil.rmtree(path, ignore_errors=True)
