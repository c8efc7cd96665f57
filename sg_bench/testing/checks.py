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
Status = Literal["ok", "failed", "skipped", "expected"]


class ContractError(AssertionError):
    """A check's finding: one line that says what was promised and what was found."""


@dataclass(frozen=True)
class ContractResult:
    """What became of one check."""

    check: str
    """As "resumes_bit_for_bit"."""
    status: Status
    """expected: it failed, as its author said that it would; skipped: what it stands on had failed before."""
    reason: str = ""
    """Why it failed or was skipped, in one line."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Return whether nothing is wrong that was not known."""
        return self.status in ("ok", "expected")


@dataclass(frozen=True)
class ContractCheck(Generic[S]):
    """One promise, made checkable."""

    run: Callable[[S], None]
    """A function `check_<name>` that raises where the promise is broken; its docstring states the promise."""
    after: tuple[str, ...] = ()
    """Checks without which this one means nothing."""

    @property
    def name(self) -> str:
        """Return the function's name without "check_"."""
        return self.run.__name__.removeprefix("check_")

    @property
    def promise(self) -> str:
        """Return the first line of the function's docstring."""
        return (self.run.__doc__ or "").partition("\n")[0]


class CheckRunner(Generic[S]):
    """Runs checks on one subject, each once, however often and in whatever order it is asked for.

    Args:
        subject: what is checked.
        checks: each after those that it stands on.
        expected_failures: why a check is known to fail, by its name.
        around: makes what every check runs in.

    Raises:
        UsageError: no such check is made of this subject.
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
        """Return what becomes of every check."""
        return [self.run(name) for name in self.checks]

    def run(self, name: str) -> ContractResult:
        """Return what becomes of one check; those that it stands on are run before."""
        if name not in self._results:
            self._results[name] = self._run_check(self.checks[name])
        return self._results[name]

    def _run_check(self, check: ContractCheck[S]) -> ContractResult:
        failed = [name for name in check.after if name in self.checks and not self._holds(name)]
        if failed:
            return ContractResult(check.name, "skipped", f"it means nothing before {failed[0]} holds")
        started = time.perf_counter()
        with self.around():
            result = _tried(check, self.subject)
        result = replace(result, seconds=time.perf_counter() - started)
        reason = self.expected.get(check.name)
        if reason is None:
            return result
        if result.status == "failed":
            return replace(result, status="expected", reason=f"{reason} ({result.reason})")
        return replace(result, status="failed", reason=f"it holds, though it was expected to fail: {reason}")

    def _holds(self, name: str) -> bool:
        return self.run(name).status == "ok"


def require(promise_kept: bool, otherwise: str) -> None:
    """Raise ContractError, saying `otherwise`, unless the promise is kept."""
    if not promise_kept:
        raise ContractError(otherwise)


def _tried(check: ContractCheck[S], subject: S) -> ContractResult:
    try:
        check.run(subject)
    except Exception as error:  # the code under runner may raise anything
        return ContractResult(check.name, "failed", _told(error))
    return ContractResult(check.name, "ok")


def _told(error: Exception) -> str:
    """Return one line: what the kit or sg-bench found, or else what was raised, and where in the examined code."""
    if isinstance(error, (ContractError, SgBenchError)):
        return " ".join(str(error).split())
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{'/'.join(last.filename.split('/')[-2:])}:{last.lineno}"
    return " ".join(f"{type(error).__name__}: {error} (in {where})".split())
