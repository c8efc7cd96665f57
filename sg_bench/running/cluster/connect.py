"""Starting or joining a Ray cluster."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

from sg_bench.errors import SgBenchError

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection to HOST:PORT."""


def connect(address: str, jobs: int) -> None:
    """Start or join a cluster, quietly and without usage reports.

    Unless RAY_AUTH_MODE is set, Ray authenticates by tokens what is started here, and a cluster is joined by token if
    there is one.
    """
    local: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        _check_reachable(address)
        if not local:
            maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise SgBenchError(f"no Ray cluster at '{address}': {cause}", hint="Use --ray-address local") from error
    token = Path.home() / ".ray" / "auth_token"
    if token.exists():
        token.chmod(0o600)  # Ray leaves the token that it makes readable by everyone


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
