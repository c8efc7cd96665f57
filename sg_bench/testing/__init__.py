"""The conformance kit: checks that the author of a method, a network or a source runs.

    from sg_bench.testing import parametrize_with_checks

    @parametrize_with_checks("denoising")
    def test_it_keeps_the_contract(check):
        check()

`check_method("denoising", 3)` returns the results as a list, and `sg-bench check plugin denoising` prints them.
`check_network("my_network", 3)` raises an error where a network breaks its contract.
Importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.testing.checks import ContractResult
    from sg_bench.testing.marks import parametrize_with_checks
    from sg_bench.testing.methods import check_method
    from sg_bench.testing.networks import check_network
    from sg_bench.testing.sources import check_source

__all__ = ["ContractResult", "check_method", "check_network", "check_source", "parametrize_with_checks"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ContractResult": "checks",
        "check_method": "methods",
        "check_network": "networks",
        "check_source": "sources",
        "parametrize_with_checks": "marks",
    },
)
