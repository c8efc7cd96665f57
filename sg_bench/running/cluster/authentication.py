"""Whether a cluster authenticates by tokens, and joining it in the mode that it has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

from ray import _raylet
from ray.exceptions import AuthenticationError, RpcError

from sg_bench.errors import SgBenchError, UsageError

_ray: Any = _raylet  # compiled, without types
MODE = "RAY_AUTH_MODE"
QUESTION = (b"session_name", b"session")
"""A key that every cluster has, and its namespace."""
TIMEOUT = 10


class Answer(Enum):
    """What a cluster answers to a question that is asked without or with a token."""

    ANSWERED = "answered"
    REFUSED = "refused"


def joining_mode(address: str, name: str) -> str:
    """Return "disabled" or "token": the mode of the cluster at HOST:PORT, which this process can join.

    Args:
        address: of the cluster.
        name: of the cluster in messages.

    Raises:
        UsageError: the cluster and this user do not agree about tokens; names what to do.
        SgBenchError: no cluster answers.
    """
    wanted = os.environ.get(MODE, "").lower()
    without = _ask(address, "disabled")
    with_token = _ask(address, "token") if without is Answer.REFUSED and _has_token() else None
    problem = mismatch(wanted, without, with_token)
    if problem:
        raise UsageError(f"the Ray cluster at '{name}' {problem[0]}", hint=problem[1])
    return "disabled" if without is Answer.ANSWERED else "token"


def mismatch(wanted: str, without: Answer, with_token: Answer | None) -> tuple[str, str] | None:
    """Return what is wrong and what to do, or None where this process can join.

    Args:
        wanted: RAY_AUTH_MODE, "" where it is not set.
        without: how the cluster answers without a token.
        with_token: how it answers with this user's token, None where there is none or it needs none.
    """
    if without is Answer.ANSWERED:
        if wanted != "token":
            return None
        return (
            "is open: it uses no authentication, but RAY_AUTH_MODE=token is set here",
            "Start the cluster with RAY_AUTH_MODE=token, or unset it here to join the open one",
        )
    where = "~/.ray/auth_token, or in a file that RAY_AUTH_TOKEN_PATH names"
    if wanted == "disabled":
        return "wants a token, but RAY_AUTH_MODE=disabled is set here", "Unset RAY_AUTH_MODE"
    if with_token is None:
        return "wants a token and there is none here", f"Put the cluster's token in {where}"
    if with_token is Answer.REFUSED:
        return "has another token than the one here", f"Put the cluster's token in {where}"
    return None


@contextmanager
def authentication(environment: Mapping[str, str], *, without: tuple[str, ...] = ()) -> Iterator[None]:
    """Set variables of Ray's authentication, remove those of `without`, and let Ray read them; undone at the end."""
    names = {*environment, *without}
    before = {name: os.environ.get(name) for name in names}
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(environment)
    _reload()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _reload()


def _reload() -> None:
    """Let Ray forget the mode and the token that it has read."""
    _ray.Config.initialize("")
    _ray.AuthenticationTokenLoader.instance().reset_cache()


def _has_token() -> bool:
    """Return whether there is a token for this user.

    Raises:
        UsageError: the file that is to hold it cannot be read, or is empty.
    """
    try:
        return bool(_ray.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))
    except AuthenticationError as error:
        problem = error.message.partition(". ")[0]
        raise UsageError(problem, hint="Let RAY_AUTH_TOKEN_PATH name a file with the cluster's token") from error


def _ask(address: str, mode: str) -> Answer:
    with authentication({MODE: mode}):
        try:
            _ray.GcsClient(address=address).internal_kv_get(*QUESTION, timeout=TIMEOUT)
        except AuthenticationError:
            return Answer.REFUSED
        except (RpcError, RuntimeError, OSError) as error:
            raise SgBenchError(f"no Ray cluster at '{address}': {error}", hint="Use --ray-address local") from error
    return Answer.ANSWERED
