"""sg-bench: pretrain without labels, fine-tune on targets, print the table.

    results = sg_bench.run("demo")                    # compute the cells that the ledger lacks, write the report
    results = sg_bench.load_results("results/demo")   # or read what was computed before
    results.table()                                   # as in the report; a notebook shows it
    results.frame()                                   # one row for each run and metric, as a DataFrame
    results.plot("seed-spread")
    results.compare("semantic_genesis_2020")

    suite = sg_bench.load_suite("demo")               # methods, tasks and seeds
    plan = sg_bench.plan(suite)                       # the cells to compute; run takes it too
    sg_bench.register("mine", entry)                  # a method of your own

Importing this package is cheap: each name is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.interface import Results, load_results, report, run
    from sg_bench.planning import plan
    from sg_bench.registry import METHODS
    from sg_bench.suite import load_suite

    register = METHODS.register

__version__ = "0.2.0"
__all__ = ["Results", "__version__", "load_results", "load_suite", "plan", "register", "report", "run"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "load_suite": "suite",
        "plan": "planning",
        "register": "registry:METHODS.register",
        **dict.fromkeys(("Results", "load_results", "report", "run"), "interface"),
    },
)
