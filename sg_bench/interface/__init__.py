"""The Python interface: runs and results as objects for scripts and notebooks. Importing it does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.interface.results import Results
    from sg_bench.interface.runs import load_results, report, run

__all__ = ["Results", "load_results", "report", "run"]

__getattr__, __dir__ = lazy_exports(
    __name__, {"Results": "results", **dict.fromkeys(("load_results", "report", "run"), "runs")}
)
