"""The conformance kit in pytest: one test for each check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from sg_bench.registry import METHODS
from sg_bench.testing.checks import CheckRunner, ContractError
from sg_bench.testing.methods import method_check_runner


def parametrize_with_checks(
    *names: str,
    dimensions: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    ray: bool = False,
) -> pytest.MarkDecorator:
    """Return a decorator that runs a test once for each check of one or more methods, which it gets as `check`.

    Args:
        names: of the methods.
        dimensions: those in which to check them; by default all that each declares.
        settings: override the kit's small settings where the methods need others.
        expected_failures: the reasons of known failures, by the check's name; if it passes, the test fails.
        ray: whether to run them on Ray too.

    Raises:
        UsageError: there is no such method, dimension or check, or a method cannot be made.
    """
    parameters = []
    for name in names:
        declared: Any = METHODS.config(name)
        for dimension in sorted(declared.dimensions) if dimensions is None else dimensions:
            runner = method_check_runner(
                name, dimension, settings=settings, expected_failures=expected_failures, ray=ray
            )
            which = f"{name}-" if len(names) > 1 else ""
            parameters += [
                pytest.param(partial(_run, runner, check), id=f"{which}{dimension}D-{check}") for check in runner.checks
            ]
    return pytest.mark.parametrize("check", parameters)


def _run(runner: CheckRunner[Any], name: str) -> None:
    """Run one check and report its result to pytest."""
    result = runner.run(name)
    if result.status == "failed":
        raise ContractError(result.reason)
    if result.status == "skipped":
        pytest.skip(result.reason)
    if result.status == "expected":
        pytest.xfail(result.reason)
