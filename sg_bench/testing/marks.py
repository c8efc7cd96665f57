"""The kit under pytest: one test a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from sg_bench.registry import METHODS
from sg_bench.testing.methods import examine_method
from sg_bench.testing.verdicts import BrokenPromise, Examination


def parametrize_with_checks(
    name: str,
    *,
    dimensions: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    ray: bool = False,
) -> Callable[[Any], Any]:
    """Return a decorator that runs a test once for each check of a method, which it gets as `check`.

    Args:
        name: of the method.
        dimensions: those in which to check it; by default all that it declares.
        settings: laid over the kit's small ones, where the method needs others.
        expected_failures: why a check is known to fail, by its name; one that holds after all fails the test.
        ray: whether to run it on Ray too.

    Raises:
        UsageError: no such method, dimension or check, or the method cannot be made.
    """
    declared: Any = METHODS.config(name)
    parameters = []
    for dimension in sorted(declared.dimensions) if dimensions is None else dimensions:
        examination = examine_method(name, dimension, settings=settings, expected_failures=expected_failures, ray=ray)
        parameters += list(_parameters(examination, f"{dimension}D-"))
    return pytest.mark.parametrize("check", parameters)


def _parameters(examination: Examination[Any], prefix: str) -> Iterator[Any]:
    for name in examination.checks:
        yield pytest.param(partial(_run, examination, name), id=f"{prefix}{name}")


def _run(examination: Examination[Any], name: str) -> None:
    """Run one check and tell pytest what became of it."""
    verdict = examination.verdict(name)
    if verdict.status == "failed":
        raise BrokenPromise(verdict.reason)
    if verdict.status == "skipped":
        pytest.skip(verdict.reason)
    if verdict.status == "expected":
        pytest.xfail(verdict.reason)
