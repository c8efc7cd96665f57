"""Trial runs: short real runs that measure what jobs cost."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from sg_bench.machine import hardware
from sg_bench.planning import (
    START,
    Machines,
    Measurement,
    Plan,
    hardware_name,
    measured_hardware,
    plan,
    price,
    unmeasured,
)
from sg_bench.planning.measurements import read_measurements
from sg_bench.running import measuring
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace

NAME = hardware_name(hardware())
CROPS = {"cube": [16, 16, 8], "border": [4, 4, 2], "air": None}
SUITE: dict[str, Any] = {
    "name": "small",
    "width": 2,
    "corpora": {"3d": {"name": "phantom", "source": "phantom", "config": {"patients": 6}, "validation": 0.4}},
    "methods": ["scratch", "models_genesis", "semantic_genesis"],
    "tasks": ["ncs[data=phantom]"],
    "pretraining": {
        "training": {"batch_size": 4, "epochs": 4, "steps_per_epoch": 3, "patience": None},
        "crops": CROPS,
        "transforms": {
            "shuffle": {"side_divisor": 4},
            "in_painting": {"border": 1},
            "out_painting": {"border": 1},
        },
        "semantics": {"warm_up_epochs": 2},
    },
    "autoencoder": {"shape": [32, 32, 16], "training": {"batch_size": 2, "epochs": 2}},
    "discovery": {
        "classes": 2,
        "neighbours": 2,
        "validation_neighbours": 1,
        "crops": {**CROPS, "border": [8, 8, 4]},
        "sides": [12, 20],
        "jitter": [-2, 2],
    },
    "fine_tuning": {"steps": 4, "steps_per_epoch": 2, "patience": None},
}


def planned(workspace: Workspace, **changes: Any) -> Plan:
    return plan(Suite.model_validate({**SUITE, **changes}), {}, workspace)


def probed(found: Plan, workspace: Workspace, scratch: Path) -> dict[str, Measurement | str]:
    jobs = unmeasured(found, found.pending(workspace), workspace, NAME)
    results = {job.title: measuring.measure_job(job, workspace.root, scratch) for job in jobs}
    assert {name for name, _ in results.values()} == {NAME}
    return {title: measured for title, (_, measured) in results.items()}


@pytest.mark.slow
def test_each_kind_of_job_is_measured_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg_bench.running.trial_runs.TRAINING_SECONDS", 0.1)
    workspace, scratch = Workspace(tmp_path / "work"), tmp_path / "scratch"
    scratch.mkdir()
    found = probed(planned(workspace), workspace, scratch)
    assert {title: each for title, each in found.items() if isinstance(each, str)} == {}
    for title, each in found.items():
        assert isinstance(each, Measurement)
        trained = title.startswith("pretrain") and "scratch" not in title
        assert (each.step_seconds > 0) == (trained or " on " in title), title
        assert (each.window_seconds > 0) == title.startswith("discover"), title
        assert each.processor_share > 0
        assert each.case_bytes > 0 or title.startswith("pretrain")
        assert each.job_bytes > 0 or not title.startswith("pretrain")
        assert (each.record_bytes > 0) == (" on " in title)
    assert not workspace.root.exists()


@pytest.mark.slow
def test_a_measured_plan_has_a_price(tmp_path: Path) -> None:
    workspace, lines = Workspace(tmp_path), list[str]()
    found = planned(workspace, methods=["scratch"])
    jobs = unmeasured(found, found.pending(workspace), workspace, NAME)
    assert measuring.measure(jobs, workspace, processes=1, log=lines.append) == []
    assert len(lines) == len(jobs)
    assert START in read_measurements(workspace, NAME)
    assert measured_hardware(workspace) == [NAME]
    priced = price(found, found.pending(workspace), workspace, Machines(NAME, 1, 1))
    assert not priced.unknown
    assert priced.seconds > priced.device_seconds > 0
    assert unmeasured(found, found.pending(workspace), workspace, NAME) == []


def test_what_cannot_be_measured_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such\nthing")

    monkeypatch.setattr("sg_bench.running.trial_runs.measure_store", broken)
    workspace = Workspace(tmp_path / "work")
    job = planned(workspace, methods=["scratch"]).of_kind("store")[0]
    assert measuring.measure_job(job, workspace.root, tmp_path) == (NAME, "no such thing")


def test_a_killed_trial_run_is_named_and_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = planned(Workspace(tmp_path / "plan"), methods=["scratch"]).of_kind("store")[0]
    monkeypatch.setattr(measuring, "measure_job", killed)
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        lines = list[str]()
        failed = measuring._measure_all(pool, [job], Workspace(tmp_path / "work"), tmp_path, lines.append)
    assert failed == [f"{job.title} could not be measured: {measuring.KILLED}"]
    assert lines == []


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
