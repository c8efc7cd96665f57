"""What a check is, and what became of it."""

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


class BrokenPromise(AssertionError):
    """A check's finding: one line that says what was promised and what was found."""


@dataclass(frozen=True)
class Verdict:
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
class Check(Generic[S]):
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


class Examination(Generic[S]):
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
        checks: Iterable[Check[S]],
        expected_failures: Mapping[str, str] | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.subject = subject
        self.around = around
        self.checks = {check.name: check for check in checks}
        self.expected = dict(expected_failures or {})
        self._verdicts: dict[str, Verdict] = {}
        for name in self.expected:
            if name not in self.checks:
                raise UsageError(f"no check '{name}' is made here", hint=did_you_mean(name, self.checks))

    def verdicts(self) -> list[Verdict]:
        """Return what becomes of every check."""
        return [self.verdict(name) for name in self.checks]

    def verdict(self, name: str) -> Verdict:
        """Return what becomes of one check; those that it stands on are run before."""
        if name not in self._verdicts:
            self._verdicts[name] = self._judged(self.checks[name])
        return self._verdicts[name]

    def _judged(self, check: Check[S]) -> Verdict:
        failed = [name for name in check.after if name in self.checks and not self._holds(name)]
        if failed:
            return Verdict(check.name, "skipped", f"it means nothing before {failed[0]} holds")
        started = time.perf_counter()
        with self.around():
            verdict = _tried(check, self.subject)
        verdict = replace(verdict, seconds=time.perf_counter() - started)
        reason = self.expected.get(check.name)
        if reason is None:
            return verdict
        if verdict.status == "failed":
            return replace(verdict, status="expected", reason=f"{reason} ({verdict.reason})")
        return replace(verdict, status="failed", reason=f"it holds, though it was expected to fail: {reason}")

    def _holds(self, name: str) -> bool:
        return self.verdict(name).status == "ok"


def require(promise_kept: bool, otherwise: str) -> None:
    """Raise BrokenPromise, saying `otherwise`, unless the promise is kept."""
    if not promise_kept:
        raise BrokenPromise(otherwise)


def _tried(check: Check[S], subject: S) -> Verdict:
    try:
        check.run(subject)
    except Exception as error:  # the code under examination may raise anything
        return Verdict(check.name, "failed", _told(error))
    return Verdict(check.name, "ok")


def _told(error: Exception) -> str:
    """Return one line: what the kit or sg-bench found, or else what was raised, and where in the examined code."""
    if isinstance(error, (BrokenPromise, SgBenchError)):
        return " ".join(str(error).split())
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{'/'.join(last.filename.split('/')[-2:])}:{last.lineno}"
    return " ".join(f"{type(error).__name__}: {error} (in {where})".split())
