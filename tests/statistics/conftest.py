"""Simulations print their figures, which are worth reading whether or not a test fails."""

import sys

import pytest


@pytest.fixture
def report(capsys):
    """Return a function that prints a line past pytest's capture."""

    def line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}")

    return line
