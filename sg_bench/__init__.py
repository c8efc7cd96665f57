"""sg-bench: pretrain without labels, fine-tune on targets, print the table.

    suite = sg_bench.load_suite("demo")     # what is compared
    plan = sg_bench.plan(suite)             # the cells it takes
    sg_bench.run(...)                       # compute those that the ledger lacks
    sg_bench.report(...)                    # the tables, from the ledger alone
    sg_bench.register("mine", entry)        # a method of your own

Importing this costs nothing: each name is fetched from its room when it is first used.
"""

from __future__ import annotations

import importlib
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sg_bench.planning import plan
    from sg_bench.registry import METHODS
    from sg_bench.reporting import report
    from sg_bench.running import run
    from sg_bench.suite import load_suite

    register = METHODS.register

__version__ = "0.1.0"
__all__ = ["__version__", "load_suite", "plan", "register", "report", "run"]

_HOMES = {
    "load_suite": "sg_bench.suite:load_suite",
    "plan": "sg_bench.planning:plan",
    "register": "sg_bench.registry:METHODS.register",
    "report": "sg_bench.reporting:report",
    "run": "sg_bench.running:run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sg_bench' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    found = attrgetter(attribute)(importlib.import_module(module))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
