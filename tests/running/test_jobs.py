"""What a job leaves behind, whoever works beside it."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sg_bench.errors import DataError
from sg_bench.planning import Job, is_built
from sg_bench.running import jobs
from sg_bench.running.jobs import Failure, attempt, failed_record
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


def test_a_failed_cell_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    try:
        raise ValueError(f"{tmp_path / 'work' / 'initialisations'} and {tmp_path / 'scans' / 'a.nii'} differ")
    except ValueError as error:
        failure = Failure.of(error)
    record = failed_record(STORE, failure, [tmp_path / "work", tmp_path / "scans"])
    assert record["error"]["message"] == "initialisations and a.nii differ"
    assert str(tmp_path) not in json.dumps(record)


def test_a_traceback_names_this_packages_code_from_its_root() -> None:
    try:
        is_built(None, STORE)  # type: ignore[arg-type]
    except AttributeError as error:
        failure = Failure.of(error)
    told = failed_record(STORE, failure)["error"]["traceback"]
    assert 'File "sg_bench/planning/plans.py"' in told


@pytest.mark.parametrize("error", [DataError("no images"), DataError("no images", hint="Add some")])
def test_an_error_meant_for_people_needs_no_traceback(error: DataError) -> None:
    assert Failure.of(error) == Failure("data", "DataError", str(error), "")
