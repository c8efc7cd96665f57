"""A cluster that is gone is noticed, once; nothing here starts Ray."""

from __future__ import annotations

import socket
import threading

import pytest

from sg_bench.running.cluster import outage
from sg_bench.running.cluster.outage import Silence, watched


def test_silence_is_a_problem_only_after_its_time_and_an_answer_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        silence = Silence(where)
        silence.heard_at -= 999
        assert silence() == ""
    assert silence() == "", "it has just answered"
    monkeypatch.setattr(outage, "SILENCE_SECONDS", 0.0)
    assert silence().startswith(f"the Ray cluster at {where} has not answered for ")


def test_a_loss_is_acted_on_once_and_not_after_the_end() -> None:
    acted, problems = threading.Event(), list[str]()

    def act(problem: str) -> None:
        problems.append(problem)
        acted.set()

    with watched(lambda: "gone", act, pause=0.01):
        assert acted.wait(30)
    with watched(lambda: "", act, pause=0.01):
        pass
    assert problems == ["gone"]
