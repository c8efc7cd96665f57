"""The conformance kit: what a method or a source promises, as checks that its author runs.

    from sg_bench.testing import parametrize_with_checks

    @parametrize_with_checks("denoising")
    def test_it_keeps_the_contract(check):
        check()

`check_method("denoising", 3)` gives the same as a list of results, and `sg-bench check plugin denoising` prints them.
Importing this costs nothing: each name is fetched from its module when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sg_bench.testing.checks import ContractResult
    from sg_bench.testing.marks import parametrize_with_checks
    from sg_bench.testing.methods import check_method
    from sg_bench.testing.sources import check_source

__all__ = ["ContractResult", "check_method", "check_source", "parametrize_with_checks"]

_HOMES = {
    "ContractResult": "sg_bench.testing.checks",
    "check_method": "sg_bench.testing.methods",
    "check_source": "sg_bench.testing.sources",
    "parametrize_with_checks": "sg_bench.testing.marks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sg_bench.testing' has no attribute '{name}'")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
