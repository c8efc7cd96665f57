"""Randomised faults: nothing that strikes a run loses, repeats or invents a cell, or leaves a process behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sg_bench.workspace.objects import Objects
from tests.e2e.conftest import TINY, Run, descendants, tables
from tests.e2e.faults import Campaign, Cells, Fault, interrupt, kill_driver, kill_titled, kill_worker, terminate
from tests.e2e.test_kill import wait_for
from tests.fixtures.s3 import BUCKET, s3_server
from tests.running.cluster.clusters import RealCluster, new_token, real_cluster

RUN = ("run", "--suite", TINY, "--set", "checks=[]")
STOPPED: dict[str, Fault] = {"driver killed": kill_driver, "interrupted": interrupt, "terminated": terminate}
SMALL_DISK_KIB = 64
"""Largest file that can be written where the disk is full; arrays and weights are larger, records are not."""


def test_twenty_faults_at_random_moments_lose_repeat_and_invent_no_cell(
    finished: Path, start: Any, tmp_path: Path
) -> None:
    faults = STOPPED | {"worker killed": kill_worker}
    survives(Campaign(start, (*RUN, "--jobs", 2), tmp_path, faults, longest=4.0, seed=0), finished)


@pytest.mark.slow
@pytest.mark.cluster
def test_twenty_faults_on_ray_lose_repeat_and_invent_no_cell(finished: Path, start: Any, tmp_path: Path) -> None:
    on_ray = {"worker killed": "ray::", "raylet killed": "raylet/raylet", "GCS killed": "gcs/gcs_server"}
    faults = STOPPED | {name: kill_titled(title) for name, title in on_ray.items()}
    command = (*RUN, "--jobs", 2, "--backend", "ray")
    survives(Campaign(start, command, tmp_path, faults, longest=30.0, seed=1), finished)


def survives(campaign: Campaign, finished: Path) -> None:
    """Let twenty faults strike, and compare what is left with what an undisturbed run gives."""
    campaign.run(20)
    print(campaign.report())  # noqa: T201 - shown with -s, or where the test fails
    assert campaign.counts() == {"lost": 0, "repeated": 0, "invented": 0}
    assert not any(strike.left for strike in campaign.strikes)
    assert all(tables(place) == tables(finished) for place in campaign.finished)


@pytest.mark.slow
def test_a_run_on_a_full_disk_fails_without_blaming_a_method_and_goes_on_when_there_is_room(
    finished: Path, sg_bench: Run, tmp_path: Path
) -> None:
    command = [*RUN, "--work", tmp_path / "work", "--out", tmp_path / "out", "--jobs", 2]
    text = shlex.join([sys.executable, "-m", "sg_bench", *map(str, command)])
    full = subprocess.run(
        ["bash", "-c", f"ulimit -f {SMALL_DISK_KIB}; exec {text}"], capture_output=True, text=True, check=False
    )
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    done = sg_bench(*command)
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path) == tables(finished)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("storage", ["folder", "s3"])
def test_three_nodes_of_which_one_is_killed_and_another_joins_give_the_same_table(
    storage: str, finished: Path, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = new_token()
    with s3_server() as server, real_cluster(token=token) as cluster:
        work = f"s3://{BUCKET}/{tmp_path.name}/work" if storage == "s3" else str(tmp_path / "work")
        environment = server if storage == "s3" else {}
        cluster.environment |= environment
        for name, value in {**environment, "SG_BENCH_LOCAL": str(tmp_path / "driver")}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.folder / "token"))
        cluster.start_head(0)
        for number in range(3):  # one after another: nodes of one machine that start at once take each other's ports
            cluster.wait()
            cluster.add_node(1, {"SG_BENCH_LOCAL": str(tmp_path / f"node-{number}")})
        cluster.wait()
        command = (*RUN, "--work", work, "--out", tmp_path / "out", "--ray-address", cluster.address)
        with start(*command) as process:
            wait_for(lambda: has_initialisation(work) or process.poll() is not None, 300)
            kill_node(cluster, 1)
            cluster.add_node(1, {"SG_BENCH_LOCAL": str(tmp_path / "node-3")})
            output, _ = process.communicate(timeout=500)
            assert process.returncode == 0, output
    assert tables(tmp_path) == tables(finished)
    if storage == "folder":
        cells = Cells(tmp_path / "work" / "cells")
        assert cells.look() == len(list((finished / "work" / "cells").glob("*.json")))
        assert not cells.invented


def has_initialisation(work: str) -> bool:
    """Return whether anything has been pretrained."""
    if work.startswith("s3:"):
        return any(Objects(work).files("initialisations"))
    return any(Path(work).glob("initialisations/*/record.json"))


def kill_node(cluster: RealCluster, number: int) -> None:
    """Kill all processes of a node at once, as when its machine is lost."""
    node = cluster.nodes[number]
    for pid in [*descendants(node.pid), node.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


pytestmark = pytest.mark.xdist_group("faults")
