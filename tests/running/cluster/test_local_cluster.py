"""A cluster that is started for a run: its folder, its end, and what a killed driver leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sg_bench.running.cluster.watchdog import processes_of
from tests.running.cluster.clusters import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("clusters")]

DRIVER = """
import json, os, signal, sys, time
from sg_bench.running.cluster.connect import Connection
from sg_bench.running.cluster.options import ClusterOptions
from sg_bench.workspace import Workspace
from sg_bench.running.environment import single_threaded
import ray
from ray import tune

def work():
    print("a worker prints")
    return all(os.environ.get(name) == value for name, value in single_threaded().items())

def trial(config):
    tune.report({"same": work()})

handler = signal.getsignal(signal.SIGTERM)
with Connection(Workspace(sys.argv[1]), ClusterOptions(), jobs=1) as found:
    os.write(2, b"noise of C++\\n")
    storage = tune.RunConfig(storage_path=sys.argv[1] + "/ray", verbose=0)
    done = ray.get(ray.remote(work).remote()), tune.Tuner(trial, run_config=storage).fit()[0].metrics["same"]
    same = signal.getsignal(signal.SIGTERM) is handler
    print(json.dumps([os.environ["SG_BENCH_RAY_SESSION"], str(found.log_file), done, same]), flush=True)
    time.sleep(600)
"""


def test_a_cluster_is_for_its_user_alone_and_ends_with_its_killed_driver_without_litter(tmp_path: Path) -> None:
    long, work = tmp_path / ("long" * 30), tmp_path / "work"
    long.mkdir()
    left = work / "ray" / "left-by-a-dead-run"
    left.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TMPDIR": str(long)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(work)], stdout=pipe, stderr=pipe, text=True, env=environment, cwd=tmp_path
    ) as driver:
        assert driver.stdout
        line = driver.stdout.readline()
        assert line, driver.stderr.read() if driver.stderr else ""
        name, log, environments, same_handler = json.loads(line)
        folder = Path(name)
        mine = processes_of(folder)
        modes = {path: path.stat().st_mode & 0o777 for path in (folder, (folder / "ray").resolve().parent)}
        links = (folder / "ray").resolve().parents[1]
        driver.kill()
        _, errors = driver.communicate(timeout=30)
    end = time.monotonic() + 5
    while (processes_of(folder) or folder.exists()) and time.monotonic() < end:
        time.sleep(0.1)
    assert processes_of(folder) == []
    assert environments == [True, True]  # of a task, and of a trial of Ray Tune
    assert same_handler
    assert len(mine) >= 5  # the server, the raylet, two agents, a worker
    assert set(modes.values()) == {0o700}
    assert links == long
    assert not folder.exists()
    assert [path.name for path in long.iterdir() if path.name.startswith("sg-bench-ray-")] == []
    assert not (tmp_path / ".ray").exists()
    assert not left.exists()
    assert "noise of C++" in Path(log).read_text()
    assert errors == ""
