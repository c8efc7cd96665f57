"""Whether a worker of a cluster sees the workspace of the run: nodes may join after all others were asked."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

MARKER_VARIABLE = "SG_BENCH_NODE_MARKER"
"""Environment variable of a cluster's workers: the content of a file that the driver wrote into the workspace, a space
and the file's path. Not set where results are at a URL, or on one machine."""
VISIBLE_AFTER = 3.0
"""Seconds that a network file system may take to show a node what another has just written."""


def require_workspace() -> None:
    """Do nothing where this process sees the workspace of the run, or is no worker of a cluster.

    Raises:
        OSError: it sees another folder in its place.
    """
    marker = os.environ.get(MARKER_VARIABLE)
    if marker:
        _require(marker)


@functools.cache  # only of successes
def _require(marker: str) -> None:
    value, _, path = marker.partition(" ")
    end = time.monotonic() + VISIBLE_AFTER
    while not _holds(Path(path), value):
        if time.monotonic() >= end:
            folder = Path(path).parents[1]
            raise OSError(f"a node that has joined sees another folder at {folder}: mount the shared one there")
        time.sleep(0.2)


def _holds(path: Path, value: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == value
    except OSError:
        return False
