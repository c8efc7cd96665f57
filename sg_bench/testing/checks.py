"""A check of the conformance kit, its result, and the runner of several."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from sg_bench.errors import SgBenchError, UsageError, did_you_mean

S = TypeVar("S")
CheckStatus = Literal["ok", "failed", "skipped", "expected"]


class ContractError(AssertionError):
    """The reason of a failed check, in one line: what the contract asks for and what was found."""


@dataclass(frozen=True)
class ContractResult:
    """The result of one check."""

    check: str
    """Name of the check, as "it_resumes_bit_for_bit"."""
    status: CheckStatus
    """expected: it failed, which is known; skipped: a check that it depends on did not pass."""
    reason: str = ""
    """The reason of a failure or a skip, in one line."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Return whether the check passed or its failure was expected."""
        return self.status in ("ok", "expected")


@dataclass(frozen=True)
class ContractCheck(Generic[S]):
    """One check of the contract."""

    run: Callable[[S], None]
    """A function `check_<name>` that raises if the contract is broken; its docstring states the contract."""
    after: tuple[str, ...] = ()
    """Names of the checks that must pass before this one means anything."""

    @property
    def name(self) -> str:
        """Return the function's name without "check_"."""
        return self.run.__name__.removeprefix("check_")

    @property
    def description(self) -> str:
        """Return the first line of the function's docstring."""
        return (self.run.__doc__ or "").partition("\n")[0]


class CheckRunner(Generic[S]):
    """Runs checks on one subject: each only once, with those that it depends on before it.

    Args:
        subject: the method or source to check.
        checks: each after those that it depends on.
        expected_failures: the reasons of known failures, by the check's name.
        around: returns a context manager in which each check runs.

    Raises:
        UsageError: there is no such check of this subject.
    """

    def __init__(
        self,
        subject: S,
        checks: Iterable[ContractCheck[S]],
        expected_failures: Mapping[str, str] | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.subject = subject
        self.around = around
        self.checks = {check.name: check for check in checks}
        self.expected = dict(expected_failures or {})
        self._results: dict[str, ContractResult] = {}
        for name in self.expected:
            if name not in self.checks:
                raise UsageError(f"no check '{name}' is made here", hint=did_you_mean(name, self.checks))

    def run_all(self) -> list[ContractResult]:
        """Run all checks and return their results."""
        return [self.run(name) for name in self.checks]

    def run(self, name: str) -> ContractResult:
        """Run one check, unless that was done before, and return its result."""
        if name not in self._results:
            self._results[name] = self._run_check(self.checks[name])
        return self._results[name]

    def _run_check(self, check: ContractCheck[S]) -> ContractResult:
        failed = [name for name in check.after if name in self.checks and not self._holds(name)]
        if failed:
            return ContractResult(check.name, "skipped", f"it means nothing before {failed[0]} holds")
        started = time.perf_counter()
        with self.around():
            result = _run_safely(check, self.subject)
        result = replace(result, seconds=time.perf_counter() - started)
        reason = self.expected.get(check.name)
        if reason is None:
            return result
        if result.status == "failed":
            return replace(result, status="expected", reason=f"{reason} ({result.reason})")
        return replace(result, status="failed", reason=f"it holds, though it was expected to fail: {reason}")

    def _holds(self, name: str) -> bool:
        return self.run(name).status == "ok"


def require(condition: bool, message: str) -> None:
    """Raise a ContractError with `message` unless `condition` holds."""
    if not condition:
        raise ContractError(message)


def _run_safely(check: ContractCheck[S], subject: S) -> ContractResult:
    try:
        check.run(subject)
    except Exception as error:  # the code under runner may raise anything
        return ContractResult(check.name, "failed", _reason(error))
    return ContractResult(check.name, "ok")


def _reason(error: Exception) -> str:
    """Return one line: the message of the kit or of sg-bench, else what was raised and where in the checked code."""
    if isinstance(error, (ContractError, SgBenchError)):
        return " ".join(str(error).split())
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{'/'.join(last.filename.split('/')[-2:])}:{last.lineno}"
    return " ".join(f"{type(error).__name__}: {error} (in {where})".split())
