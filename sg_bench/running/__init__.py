"""Execution of a plan: in worker processes on this machine, or on Ray. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.running.driver import RunSummary, run

__all__ = [
    "RunSummary",
    "run",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("RunSummary", "run"), "driver"),
    },
)
