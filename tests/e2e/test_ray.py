"""The ray backend gives what the local one gives, and survives what clusters do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import TINY, Run, alive, descendants, tables
from tests.e2e.test_kill import interrupt, wait_for

ON_RAY = ("--backend", "ray", "--jobs", 2)
LONGER = ("--set", "pretraining.training.epochs=40", "--set", "pretraining.training.steps_per_epoch=4")


@pytest.mark.cluster
def test_ray_train_and_tune_give_the_same_cells_as_local_processes(
    finished: Path, sg_bench: Run, tmp_path: Path
) -> None:
    done = sg_bench("run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out", *ON_RAY)
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path) == tables(finished)
    for path in (tmp_path / "out" / "cells").glob("*.json"):
        here, there = (
            json.loads((out / "cells" / path.name).read_text()) for out in (tmp_path / "out", finished / "out")
        )
        for part in ("recipe", "metrics", "tables", "outputs"):
            assert here[part] == there[part]


@pytest.mark.cluster
def test_two_workers_learn_what_one_learns_up_to_rounding(sg_bench: Run, tmp_path: Path) -> None:
    losses = []
    for workers in (1, 2):
        work = tmp_path / str(workers)
        done = sg_bench(
            *("run", "--suite", TINY, "--work", work, "--out", work / "out", *ON_RAY, "--seeds", 0),
            *("--methods", "models_genesis", "--tasks", "tiny_ncc.yaml", "--set", f"pretraining.workers={workers}"),
        )
        assert done.returncode == 0, done.stderr
        (record,) = (json.loads(path.read_text()) for path in work.glob("initialisations/*/record.json"))
        assert (record["ran"]["world_size"], record["ran"]["world_sizes"]) == (workers, [workers])
        losses.append([row["train"]["loss"] for row in record["curves"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.cluster
def test_a_killed_train_worker_is_restarted_and_the_pretraining_ends_with_the_same_weights(
    sg_bench: Run, start: Any, tmp_path: Path
) -> None:
    command = ("run", "--suite", TINY, "--methods", "models_genesis", "--tasks", "tiny_ncc.yaml", "--seeds", 0, *LONGER)
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    assert sg_bench(*command, "--work", calm, "--out", calm / "out").returncode == 0
    with start(*command, "--work", rough, "--out", rough / "out", *ON_RAY) as process:
        wait_for(lambda: bool(training_workers(process.pid)) and any(rough.glob("progress/*.json")), 180)
        os.kill(training_workers(process.pid)[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
    assert outputs(rough) == outputs(calm)


@pytest.mark.cluster
def test_a_driver_killed_on_ray_leaves_a_workspace_that_any_backend_finishes(
    finished: Path, sg_bench: Run, start: Any, tmp_path: Path
) -> None:
    command = ("run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path / "out")
    with start(*command, *ON_RAY) as process:
        wait_for(lambda: any(tmp_path.glob("work/cells/*.json")), 300)
        process.kill()
    done = sg_bench(*command, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path) == tables(finished)


@pytest.mark.cluster
def test_ctrl_c_and_sigterm_on_ray_end_a_run_within_seconds_and_record_nothing(start: Any, tmp_path: Path) -> None:
    work = tmp_path / "work"
    few = ("--methods", "models_genesis", "--tasks", "tiny_ncc.yaml", "--seeds", "0-7")
    command = ("run", "--suite", TINY, *few, "--work", work, "--out", tmp_path / "out", *ON_RAY)
    moments: dict[signal.Signals, Callable[[int], bool]] = {
        signal.SIGINT: lambda pid: bool(training_workers(pid)) and any(work.glob("progress/*.json")),
        signal.SIGTERM: lambda pid: any(work.glob("cells/*.json")),
    }
    for number, moment in moments.items():
        with start(*command, *(LONGER if number == signal.SIGINT else ())) as process:
            wait_for(lambda: moment(process.pid) or process.poll() is not None, 400)  # noqa: B023
            processes = descendants(process.pid)
            interrupt(process.pid, number)
            began = time.monotonic()
            output, _ = process.communicate(timeout=60)
            seconds = time.monotonic() - began
        assert process.returncode == 128 + number, output
        assert seconds < 15, output  # 5 on a machine that does nothing else
        assert output.endswith("\nInterrupted. Nothing finished is lost: the same command continues from here.\n")
        for noise in ("Traceback", "***", "FAILED", "core_worker", "raylet"):
            assert noise not in output
        wait_for(lambda: not any(alive(pid) for pid in processes), 10)  # noqa: B023
    records = [json.loads(path.read_text()) for path in work.glob("cells/*.json")]
    assert records
    assert {record["status"] for record in records} == {"done"}


def test_an_address_where_no_cluster_is_gets_one_line(sg_bench: Run, tmp_path: Path) -> None:
    done = sg_bench(
        "run", "--suite", TINY, "--work", tmp_path / "work", "--out", tmp_path, "--ray-address", "127.0.0.1:1"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: no Ray cluster at '127.0.0.1:1'")


def training_workers(pid: int) -> list[int]:
    """Return the processes of Ray Train's workers below `pid`."""
    found = []
    for child in descendants(pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if b"RayTrainWorker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def outputs(work: Path) -> list[dict[str, str]]:
    """Return the digests of a workspace's initialisations."""
    return [json.loads(path.read_text())["outputs"] for path in sorted(work.glob("initialisations/*/record.json"))]


pytestmark = pytest.mark.xdist_group("e2e")
