"""sg-bench: pretrain without labels, fine-tune on targets, print the table.

    suite = sg_bench.load_suite("demo")     # methods, tasks and seeds
    plan = sg_bench.plan(suite)             # the cells to compute
    sg_bench.run(...)                       # compute the cells that the ledger lacks
    sg_bench.report(...)                    # the tables, from the ledger alone
    sg_bench.register("mine", entry)        # a method of your own

Importing this package is cheap: each name is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.planning import plan
    from sg_bench.registry import METHODS
    from sg_bench.reporting import report
    from sg_bench.running import run
    from sg_bench.suite import load_suite

    register = METHODS.register

__version__ = "0.1.0"
__all__ = ["__version__", "load_suite", "plan", "register", "report", "run"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "load_suite": "suite",
        "plan": "planning",
        "register": "registry:METHODS.register",
        "report": "reporting",
        "run": "running",
    },
)
