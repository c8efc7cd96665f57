"""What becomes of a check: once, in one line, and never without those that it stands on."""

from __future__ import annotations

import pytest

from sg_bench.errors import DataError, UsageError
from sg_bench.testing.checks import CheckRunner, ContractCheck, require


def check_it_holds(ran: list[str]) -> None:
    """It holds."""
    ran.append("holds")


def check_it_fails(ran: list[str]) -> None:
    """It fails."""
    ran.append("fails")
    require(False, "it was said to be 3,\nand is 4")


def check_it_raises(ran: list[str]) -> None:
    """Raises."""
    raise KeyError("absent")


def check_it_is_refused(ran: list[str]) -> None:
    """Refused."""
    raise DataError("nothing is there", hint="Look elsewhere")


def check_it_stands_on_others(ran: list[str]) -> None:
    """Stands on others."""
    ran.append("stands")


def examine(*checks: ContractCheck[list[str]], **expected: str) -> CheckRunner[list[str]]:
    return CheckRunner([], checks, expected)


def test_a_check_is_run_once_however_often_it_is_asked_for() -> None:
    found = examine(ContractCheck(check_it_holds))
    assert found.run("it_holds") is found.run("it_holds") is found.run_all()[0]
    assert found.subject == ["holds"]
    assert found.run("it_holds").good


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (check_it_fails, "it was said to be 3, and is 4"),
        (check_it_raises, "KeyError: 'absent' (in testing/test_checks.py:"),
        (check_it_is_refused, "nothing is there. Look elsewhere"),
    ],
)
def test_a_failure_is_one_line_whatever_was_raised(check, reason: str) -> None:
    (result,) = examine(ContractCheck(check)).run_all()
    assert (result.status, result.good) == ("failed", False)
    assert result.reason.startswith(reason)
    assert "\n" not in result.reason


@pytest.mark.parametrize("first", ["it_fails", "it_stands_on_others"])
def test_a_check_whose_ground_has_failed_is_skipped_in_whatever_order_they_are_asked(first: str) -> None:
    found = examine(ContractCheck(check_it_fails), ContractCheck(check_it_stands_on_others, after=("it_fails",)))
    found.run(first)
    assert [result.status for result in found.run_all()] == ["failed", "skipped"]
    assert found.subject == ["fails"]
    assert "it_fails" in found.run("it_stands_on_others").reason


def test_an_expected_failure_is_good_and_keeps_both_reasons() -> None:
    (result,) = examine(ContractCheck(check_it_fails), it_fails="known since long").run_all()
    assert (result.status, result.good) == ("expected", True)
    assert result.reason == "known since long (it was said to be 3, and is 4)"


def test_an_expected_failure_that_holds_is_a_failure() -> None:
    (result,) = examine(ContractCheck(check_it_holds), it_holds="known since long").run_all()
    assert (result.status, result.reason) == (
        "failed",
        "it holds, though it was expected to fail: known since long",
    )


def test_an_expected_failure_of_no_check_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no check 'it_hold' is made here\. Did you mean 'it_holds'"):
        examine(ContractCheck(check_it_holds), it_hold="known")
