"""What a job leaves behind, whoever works beside it."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

from sg_bench.planning import Job
from sg_bench.running import jobs
from sg_bench.running.jobs import attempt
from sg_bench.workspace import Workspace

STORE = Job("store", "ab" * 32, {}, (), "prepare scans")


def silent(done: int, total: int | None) -> None:
    """Report to no one."""


def test_nobody_can_finish_a_store_while_a_case_is_written_to_it(tmp_path: Path, monkeypatch: Any) -> None:
    workspace, waited = Workspace(tmp_path), []

    def finish_beside(*_: Any) -> None:
        with workspace.lock(STORE.key):
            pass

    def write_a_case(*_: Any) -> None:
        other = Thread(target=finish_beside)
        other.start()
        other.join(0.2)
        waited.append(other.is_alive())

    monkeypatch.setattr(jobs, "prepare_cases", write_a_case)
    assert attempt(STORE, workspace, silent, ["a case"]) is None  # type: ignore[list-item]
    assert waited == [True]
