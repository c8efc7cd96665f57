"""Errors for the user: what was wrong, the value, what was allowed, the next command to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import ClassVar, Literal

FailureKind = Literal["method", "data", "infrastructure"]


class SgBenchError(Exception):
    """Base class of the errors that sg-bench raises itself; the message is one line for the user."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[FailureKind] = "infrastructure"

    def __init__(self, problem: str, *, hint: str = "") -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(f"{problem}. {hint}" if hint else problem)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.hint)


class UsageError(SgBenchError):
    """A command, suite file or task card asks for something that cannot be done."""

    exit_code = 2


class DataError(SgBenchError):
    """A data set is absent, damaged or not as its task card describes it."""

    exit_code = 3
    kind: ClassVar[FailureKind] = "data"


class DamagedError(DataError):
    """A file of the workspace is not there, or does not hold what its record says: nobody's fault but the disk's."""

    kind: ClassVar[FailureKind] = "infrastructure"

    def __init__(self, problem: str, *, path: Path, hint: str = "") -> None:
        super().__init__(problem, hint=hint or "sg-bench run sets it aside and computes it again")
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_damaged, (self.problem, self.path, self.hint)


class MethodError(SgBenchError):
    """A method's own computation failed: the loss became NaN, a weight is missing, a shape does not fit."""

    kind: ClassVar[FailureKind] = "method"


def _rebuild(cls: type[SgBenchError], problem: str, hint: str) -> SgBenchError:
    """Unpickle an error of a worker process: the default cannot pass keyword arguments."""
    return cls(problem, hint=hint)


def _rebuild_damaged(problem: str, path: Path, hint: str) -> DamagedError:
    return DamagedError(problem, path=path, hint=hint)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'? Known: a, b, c" for an unknown `name`."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    question = f"Did you mean '{close[0]}'? " if close else ""
    return f"{question}Known: {', '.join(names) or 'none'}"


def failure_kind(error: BaseException) -> FailureKind:
    """Return whether the method, the data or the infrastructure caused `error`.

    Knows the errors of Python and of this package; `running.failures` adds PyTorch's and `running.cluster` Ray's.
    """
    if isinstance(error, SgBenchError):
        return error.kind
    return "infrastructure" if isinstance(error, (OSError, MemoryError, BrokenExecutor)) else "method"
