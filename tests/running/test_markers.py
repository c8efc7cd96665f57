"""A worker of a cluster refuses to work in another folder than the run's."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg_bench.planning import Job
from sg_bench.running import markers
from sg_bench.running.cluster.nodes import run_marker
from sg_bench.running.local import work
from sg_bench.running.markers import MARKER_VARIABLE, require_workspace
from sg_bench.workspace import Workspace
from tests.recipes import store_recipe

JOB = Job(store_recipe(), (), "prepare mine")


def test_a_worker_that_sees_the_workspace_of_the_run_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_workspace()  # without a cluster
    with run_marker(Workspace(tmp_path)) as environment:
        monkeypatch.setenv(MARKER_VARIABLE, environment[MARKER_VARIABLE])
        require_workspace()
    require_workspace()  # is asked once a process
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "of another run"])
def test_a_worker_on_a_node_with_another_folder_fails_by_the_infrastructure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(markers, "VISIBLE_AFTER", 0.0)
    path = tmp_path / ".nodes-1" / "driver"
    if content:
        path.parent.mkdir()
        path.write_text(content)
    monkeypatch.setenv(MARKER_VARIABLE, f"value{len(content or '')} {path}")
    failure = work(JOB, tmp_path)
    assert failure
    assert (failure.kind, failure.transient) == ("infrastructure", True)
    assert failure.message.startswith(f"a node that has joined sees another folder at {tmp_path}")


def test_with_results_at_a_url_nothing_is_asked(tmp_path: Path) -> None:
    with run_marker(Workspace((tmp_path / "remote").as_uri())) as environment:
        assert environment == {}
