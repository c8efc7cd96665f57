"""The method keeps the contract of sg-bench."""

from sg_bench.testing import parametrize_with_checks


@parametrize_with_checks("moco")
def test_it_keeps_the_contract(check):
    check()
