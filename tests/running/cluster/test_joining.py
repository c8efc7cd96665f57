"""Joining real clusters on loopback: with and without tokens, with nodes that differ."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running.cluster.clusters import RealCluster, in_driver, new_token, real_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("clusters")]

COMMON = """
import json, os, sys
from pathlib import Path
from sg_bench.errors import SgBenchError
from sg_bench.running.cluster.connect import Connection
from sg_bench.running.cluster.options import ClusterOptions
from sg_bench.workspace import Workspace
import ray

def work():
    return os.environ["OMP_NUM_THREADS"]

def join(address, work_folder, **more):
    lines = []
    options = ClusterOptions(address, ship_code=more.pop("ship_code", False))
    try:
        with Connection(Workspace(work_folder), options, log=lines.append, **more) as found:
            return [lines, ray.get(ray.remote(work).remote()), found.log_file.is_file()]
    except SgBenchError as error:
        return [lines, type(error).__name__, str(error)]
"""

TOKENS = """
def home(name, token=""):
    os.environ["HOME"] = name
    (Path(name) / ".ray").mkdir(parents=True, exist_ok=True)
    (Path(name) / ".ray" / "auth_token").write_text(token) if token else None

open_one, closed_one, work_folder, token = sys.argv[1:]
home("with-another-token", "f" * 64)
print(json.dumps(join(open_one, work_folder)))
print(json.dumps(join(closed_one, work_folder)))
os.environ["RAY_AUTH_MODE"] = "token"
print(json.dumps(join(open_one, work_folder)))
del os.environ["RAY_AUTH_MODE"]
print(json.dumps(join(open_one, work_folder, jobs=9, workers=3)))
home("without-token")
print(json.dumps(join(closed_one, work_folder)))
home("with-token", token)
submitted = {"runtime_env": {"env_vars": {"OMP_NUM_THREADS": "7"}}}
os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps(submitted)  # as `ray job submit` sets it
print(json.dumps(join(closed_one, work_folder)))
"""

NODES = """
from sg_bench.running.cluster.nodes import check_nodes
address, work_folder = sys.argv[1:]
print(json.dumps(join(address, work_folder)[1:]))
from sg_bench.running.cluster import connect
connect.require_nodes = lambda workspace: print(json.dumps(check_nodes(workspace)))
join(address, work_folder)
join(address, work_folder, ship_code=True)
from sg_bench.running.cluster.nodes import alive_nodes, ask_nodes
from sg_bench.running.markers import require_workspace
ask = lambda workspace: print(json.dumps(ask_nodes(alive_nodes(), require_workspace, timeout=60)))
connect.require_nodes = ask  # as if the nodes had joined after the checks
join(address, work_folder, ship_code=True)
"""


@pytest.fixture(scope="module")
def open_cluster() -> Iterator[RealCluster]:
    with real_cluster() as cluster:
        cluster.start_head(2)
        yield cluster


def test_a_cluster_is_joined_in_its_own_mode_and_a_disagreement_is_named(
    open_cluster: RealCluster, tmp_path: Path
) -> None:
    token = new_token()
    with real_cluster(token=token) as closed:
        closed.start_head(1)
        closed.wait()
        open_cluster.wait()
        addresses = open_cluster.address, closed.address
        joined, another, forced, more, none, right = in_driver(
            COMMON + TOKENS, *addresses, tmp_path / "work", token, folder=tmp_path
        )
    line = f"The Ray cluster at {open_cluster.address} is open: it uses no authentication"
    assert joined == [[line], "1", True]
    assert another[:2] == [[], "UsageError"]
    assert "has another token than the one here. Put the cluster's token in" in another[2]
    assert forced[1] == "UsageError"
    assert "is open: it uses no authentication, but RAY_AUTH_MODE=token is set here" in forced[2]
    assert more[1:] == [
        "UsageError",
        "pretraining.workers=3 asks for 3 processors and --jobs 9 asks for 9 processors, the Ray cluster has "
        "2 processors and 0 GPUs on 1 node. Lower pretraining.workers and --jobs, or add nodes",
    ]
    assert none[1] == "UsageError"
    assert "wants a token and there is none here. Put the cluster's token in ~/.ray/auth_token" in none[2]
    assert right == [[], "1", True]


def test_nodes_with_another_workspace_or_other_code_are_refused_and_code_can_be_sent(
    open_cluster: RealCluster, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "sg_bench"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "9.9"\n')
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    work.mkdir()
    elsewhere.mkdir()
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespaces")
    mounted = ["unshare", "-rm", "sh", "-c", f'mount --bind {elsewhere} {work} && exec "$@"', "sh"]
    open_cluster.add_node(1, {"PYTHONPATH": str(other.parent)})
    open_cluster.wait()
    open_cluster.add_node(1, before=mounted)
    open_cluster.wait()
    refused, checks, shipped, later = in_driver(COMMON + NODES, open_cluster.address, work, folder=tmp_path)
    assert refused[0] == "UsageError"
    assert refused[1].startswith("node ")
    bad = {found: what for what, ok, found, _ in checks if not ok}
    assert len(bad) == 2
    different, blind = bad.keys()
    if different.startswith("does not see"):
        different, blind = blind, different
    assert different.startswith("has 9.9; here it is ")
    assert blind == f"does not see {work} (No such file or directory)"
    assert {what.partition(":")[0] for what in bad.values()} == {"node 2 of 3", "node 3 of 3"}
    assert [found for _, ok, found, _ in shipped if not ok] == [blind]
    (found,) = (each for each in later if each is not None)
    assert f"a node that has joined sees another folder at {work}" in found
    assert list(work.glob(".nodes-*")) == []


WAITING = """
address, work_folder = sys.argv[1:]
from sg_bench.running.cluster import connect
connect.require_nodes = lambda workspace: None
lines = []
def wait(seconds, **more):
    try:
        with Connection(Workspace(work_folder), ClusterOptions(address, wait=seconds), log=lines.append, **more):
            return [lines, ray.cluster_resources()["CPU"]]
    except SgBenchError as error:
        return [lines, type(error).__name__, str(error)]

print(json.dumps(wait(None, workers=2)))
lines.clear()
print(json.dumps(wait(4, workers=9)))
"""

FAKE_PROVIDER = {
    "type": "fake_multinode",
    "head_node_id": "f" * 51 + "00000",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
}


def test_an_autoscaler_is_asked_for_nodes_and_awaited_for_a_limited_time(tmp_path: Path) -> None:
    types = {
        "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "small": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    }
    lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    config = {
        "cluster_name": "fake",
        "max_workers": 1,
        "provider": FAKE_PROVIDER,
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1.0,
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{f"{name}_commands": [] for name in lists},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        "file_mounts_sync_continuously": False,
    }
    with real_cluster(port=6379) as cluster:  # the only one that Ray's fake provider joins
        (cluster.folder / "config.json").write_text(json.dumps(config))
        cluster.environment |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
        cluster.start_head(1, f"--autoscaling-config={cluster.folder / 'config.json'}")
        cluster.wait()
        come, never = in_driver(COMMON + WAITING, cluster.address, tmp_path / "work", folder=tmp_path)
    asked = "pretraining.workers=2 asks for 2 processors, the Ray cluster has 1 processor and 0 GPUs on 1 node"
    assert come[0][1:] == [f"Waiting for nodes, at most 900 s: {asked}"]
    assert come[1] == 2
    assert never[1] == "SgBenchError"
    assert "pretraining.workers=9 asks for 9 processors" in never[2]
    assert "after 4 s of waiting. Look at `ray status`" in never[2]
