"""A method that breaks one promise fails the check of that promise, and no other."""

from __future__ import annotations

import pytest

from sg_bench.testing import check_method
from tests.testing.broken_configs import FINDINGS

pytestmark = pytest.mark.xdist_group("kit")


QUICK = ("ChangesItsImages", "IsNotDeterministic", "ExportsTooLittle", "LosesItself")


@pytest.mark.usefixtures("broken_package")
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FINDINGS]
)
def test_a_broken_promise_is_found_by_the_check_that_is_meant_to(name: str) -> None:
    results = check_method(name, 3)
    failed = [result for result in results if result.status == "failed"]
    assert [result.check for result in failed] == [FINDINGS[name]], failed
    assert "\n" not in failed[0].reason


@pytest.mark.slow
@pytest.mark.usefixtures("broken_package")
def test_what_the_broken_methods_are_made_of_is_sound() -> None:
    assert {result.status for dimension in (2, 3) for result in check_method("Sound", dimension)} == {"ok"}
