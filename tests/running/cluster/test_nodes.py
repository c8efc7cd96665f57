"""What nodes have and see, decided from their answers; nothing here starts Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sg_bench
from sg_bench.errors import UsageError
from sg_bench.running.cluster import node_description, nodes
from sg_bench.running.cluster.nodes import NodeCheck, NodeView, answer_check, code_checks, workspace_check
from sg_bench.workspace import Workspace

HERE = {"sg_bench": "1.0 aaaa", "my-plugin": "0.3 bbbb"}
ROOT = "/shared/work"


def view(*, returned: bool = True, **answer: Any) -> NodeView:
    full = {"seen": "value", "written": "file", "problem": "", "code": HERE, **answer}
    return NodeView("node 2 of 3", {"CPU": 4.0}, full, returned)


def test_a_node_that_reads_and_writes_the_workspace_and_has_the_same_code_is_accepted() -> None:
    checks = [workspace_check(view(), "value", ROOT), *code_checks(view(), HERE)]
    assert all(check.ok and not check.fix for check in checks)
    assert [check.what for check in checks] == [
        "node 2 of 3: workspace",
        "node 2 of 3: sg-bench",
        "node 2 of 3: my-plugin",
    ]


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (view(seen="", problem="No such file or directory"), "does not see /shared/work (No such file or directory)"),
        (view(seen="of another run"), "sees another folder at /shared/work"),
        (view(written=""), "cannot write to /shared/work"),
        (view(returned=False), "what it writes to /shared/work does not arrive here"),
    ],
)
def test_a_node_that_sees_another_workspace_is_refused(seen: NodeView, found: str) -> None:
    check = workspace_check(seen, "value", ROOT)
    assert not check.ok
    assert check.found == found
    assert check.fix


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({}, "has no sg-bench; here it is 1.0"),
        ({"sg_bench": "0.9 cccc"}, "has 0.9; here it is 1.0"),
        ({"sg_bench": "1.0 cccc"}, "has 1.0 with other source files than here"),
    ],
)
def test_a_node_with_other_code_is_refused(there: dict[str, str], found: str) -> None:
    check, plugin = code_checks(view(code=there), HERE)
    assert (check.what, check.ok, check.found) == ("node 2 of 3: sg-bench", False, found)
    assert "--ship-code" in check.fix
    assert plugin.found == "has no my-plugin; here it is 0.3"


def test_a_machine_is_described_and_a_containers_small_shared_memory_is_a_problem() -> None:
    machine: dict[str, Any] = {"python": "3.11.7", "memory_mib": 8192, "shm_mib": 4096, "disk_mib": 51200}
    check = nodes.machine_check(view(**machine))
    assert (check.what, check.ok) == ("node 2 of 3: machine", True)
    assert check.found == (
        "Python 3.11.7, 4 CPUs, 0 GPUs, 8.0 GiB of memory free, 4.0 GiB of shm free, 50.0 GiB of disk free"
    )
    assert "--shm-size" in nodes.machine_check(view(**machine | {"shm_mib": 64})).fix
    assert nodes.machine_check(view(**machine | {"disk_mib": 64})).fix
    assert nodes.machine_check(view(python=None)).ok


def test_a_node_that_does_not_answer_is_named() -> None:
    check = answer_check(NodeView("node 1 of 1", {}, problem="no answer within 120 s"))
    assert (check.ok, check.found) == (False, "no answer within 120 s")


def test_the_first_problem_is_raised_with_what_to_do_and_how_many_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        NodeCheck("node 1 of 2: workspace", True, "", ""),
        *(NodeCheck(f"node 2 of 2: {name}", False, "is bad", "Mend it") for name in "ab"),
    ]
    monkeypatch.setattr(nodes, "check_nodes", lambda workspace: found)
    with pytest.raises(UsageError, match=r"^node 2 of 2: a: is bad \(and 1 more\)\. Mend it$"):
        nodes.require_nodes(Workspace(tmp_path))


def test_checks_without_a_cluster_raise_nothing(tmp_path: Path) -> None:
    (check,) = nodes.check_nodes(Workspace(tmp_path))
    assert not check.ok


def test_a_node_reads_the_marker_and_writes_another(tmp_path: Path) -> None:
    with nodes._marker(Workspace(tmp_path)) as (name, value, read):
        answer = node_description.describe_node(str(tmp_path / name))
        assert answer["seen"] == value
        assert nodes._returned(read, answer["written"])
        assert not nodes._returned(read, "never-written")
        assert answer["memory_mib"] > 0
    assert list(tmp_path.iterdir()) == []


def test_with_remote_storage_the_marker_goes_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG_BENCH_LOCAL", str(tmp_path / "node"))
    workspace = Workspace((tmp_path / "remote").as_uri())
    assert workspace.remote
    with nodes._marker(workspace) as (name, value, read):
        answer = nodes._joined_answer(
            node_description.describe_node(""), nodes.storage_round_trip(workspace.remote.url, name)
        )
        assert (answer["seen"], answer["problem"]) == (value, "")
        assert nodes._returned(read, answer["written"])
        elsewhere = nodes.storage_round_trip((tmp_path / "another").as_uri(), name)
        assert (elsewhere["seen"], elsewhere["written"]) == ("", "")
        assert elsewhere["problem"]
    assert [path for path in (tmp_path / "remote").rglob("*") if path.is_file()] == []
    lost = view(**nodes._joined_answer({"seen": ""}, "No module named 'sg_bench'"))
    assert (
        workspace_check(lost, "value", "s3://bucket").found == "does not see s3://bucket (No module named 'sg_bench')"
    )


def test_a_node_without_the_workspace_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_description, "VISIBLE_AFTER", 0.0)
    answer = node_description.describe_node(str(tmp_path / "elsewhere"))
    assert (answer["seen"], answer["written"], answer["problem"]) == ("", "", "No such file or directory")


def test_code_is_described_without_importing_it_and_an_edit_shows(tmp_path: Path) -> None:
    here = node_description.describe_code()[node_description.PACKAGE]
    assert here.split()[0] == sg_bench.__version__
    package = tmp_path / "sg_bench"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "9.9"\nraise ImportError("never imported")\n')
    script = "sys.path.insert(0, sys.argv[1]); print(runpy.run_path(sys.argv[2])['describe_code']()['sg_bench'])"
    command = [sys.executable, "-c", f"import runpy, sys; {script}", str(tmp_path), node_description.__file__]
    before = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    (package / "more.py").write_text("x = 1\n")
    after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert before[0] == after[0] == "9.9"
    assert before[1] != after[1]


def test_a_node_that_is_lost_while_it_is_asked_is_left_out_and_one_that_does_not_answer_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [{"NodeID": name, "Resources": {"CPU": 1.0}} for name in ("head", "silent", "lost")]
    asked = iter([there, there[:2]])
    monkeypatch.setattr(nodes, "alive_nodes", lambda: next(asked))
    answers = [{"seen": "", "written": "", "code": {}}, "no answer within 120 s", "no such node"]
    monkeypatch.setattr(nodes, "ask_nodes", lambda *arguments, timeout: answers)
    views, _ = nodes.node_views(Workspace(tmp_path))
    assert [(each.name, each.problem) for each in views] == [
        ("node 1 of 3", ""),
        ("node 2 of 3", "no answer within 120 s"),
    ]
