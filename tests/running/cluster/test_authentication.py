"""Whether this process can join a cluster, decided from what the cluster answers; nothing here starts Ray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sg_bench.errors import UsageError
from sg_bench.running.cluster.authentication import Answer, _has_token, authentication, mismatch

YES, NO = Answer.ANSWERED, Answer.REFUSED


@pytest.mark.parametrize(
    ("wanted", "without", "with_token", "problem"),
    [
        ("", YES, None, None),
        ("disabled", YES, None, None),
        ("token", YES, None, "is open"),
        ("", NO, YES, None),
        ("token", NO, YES, None),
        ("", NO, None, "wants a token and there is none here"),
        ("token", NO, None, "wants a token and there is none here"),
        ("", NO, NO, "has another token than the one here"),
        ("disabled", NO, YES, "wants a token, but RAY_AUTH_MODE=disabled is set here"),
    ],
)
def test_a_disagreement_about_tokens_is_named_with_what_to_do(
    wanted: str, without: Answer, with_token: Answer | None, problem: str | None
) -> None:
    found = mismatch(wanted, without, with_token)
    assert (found is None) == (problem is None)
    assert found is None or (problem and found[0].startswith(problem) and found[1])


def test_the_environment_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with authentication({"RAY_AUTH_MODE": "disabled"}, without=("RAY_AUTH_TOKEN",)):
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert "RAY_AUTH_MODE" not in os.environ
    assert os.environ["RAY_AUTH_TOKEN"] == "mine"


def test_a_file_without_a_token_is_named(tmp_path: Path) -> None:
    absent = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")}
    message = r"absent\. Let RAY_AUTH_TOKEN_PATH name a file"
    with authentication(absent, without=("RAY_AUTH_TOKEN",)), pytest.raises(UsageError, match=message):
        _has_token()
