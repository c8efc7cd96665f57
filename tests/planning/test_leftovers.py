"""What a workspace could do without, and its deletion."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg_bench.ledger import Ledger
from sg_bench.planning import FOLDERS, Leftover, Plan, delete, leftovers, plan, registered
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace

CORPORA = {"3d": {"name": "phantom", "source": "phantom"}}


def planned(*tasks: str, methods: tuple[str, ...] = ("scratch",)) -> Plan:
    content = {"name": "small", "corpora": CORPORA, "methods": list(methods), "tasks": list(tasks)}
    return plan(Suite.model_validate(content), {})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def built(workspace: Workspace, found: Plan) -> None:
    for job in found.jobs.values():
        if job.kind != "cell":
            folder = workspace.path(FOLDERS[job.kind], job.key)
            folder.mkdir(parents=True)
            (folder / "content").write_bytes(b"1234")


def names(workspace: Workspace, *plans: Plan) -> dict[str, str]:
    return {str(each.path.relative_to(workspace.root)): each.why for each in leftovers(plans, workspace)}


NCS, BMS = planned("ncs[data=phantom]"), planned("bms[data=phantom]")


def test_what_the_suites_need_is_kept(workspace: Workspace) -> None:
    built(workspace, NCS)
    assert names(workspace, NCS) == {}
    found = names(workspace, BMS)
    assert found.keys() == {f"stores/{job.key}" for job in NCS.of_kind("store") if job.key not in BMS.jobs}
    assert set(found.values()) == {"no cell of these suites, and no finished cell, needs it"}
    assert names(workspace, BMS, NCS) == {}


def test_what_a_finished_cell_was_computed_from_is_kept(workspace: Workspace) -> None:
    built(workspace, NCS)
    job = NCS.of_kind("cell")[0]
    record = {"key": job.key, "status": "done", "recipe": job.recipe.key_content(), "metrics": {}, "cases": []}
    Ledger(workspace).put({**record, "outputs": {}, "error": None})
    workspace.path("predictions").mkdir()
    workspace.path("predictions", f"{job.key}.npz").touch()
    workspace.path("predictions", f"{'0' * 64}.npz").touch()
    assert names(workspace, BMS).keys() == {f"predictions/{'0' * 64}.npz"}


def test_features_are_kept_as_long_as_their_initialisation_is_needed(workspace: Workspace) -> None:
    (needed,) = NCS.of_kind("initialisation")
    workspace.path("features").mkdir()
    for key in (needed.key, "0" * 64):
        workspace.path("features", f"{key}.{'1' * 64}.npz").touch()
    assert names(workspace, NCS).keys() == {f"features/{'0' * 64}.{'1' * 64}.npz"}


def test_what_a_living_run_uses_is_kept(workspace: Workspace) -> None:
    built(workspace, NCS)
    partial = workspace.partial("stores", "ab" * 32)
    partial.mkdir(parents=True)
    workspace.path("logs").mkdir()
    workspace.path("logs", "ray-1.log").touch()
    with registered(NCS, [], workspace, slots=1, log=print):
        assert names(workspace, BMS).keys() == {f"stores/{partial.name}"}
    assert names(workspace, BMS)["logs/ray-1.log"] == "a log of Ray, and no run is alive"
    assert len(names(workspace, BMS)) == 2 + len([job for job in NCS.of_kind("store") if job.key not in BMS.jobs])


def test_parts_checkpoints_logs_and_what_was_set_aside_are_listed(workspace: Workspace) -> None:
    cell = NCS.of_kind("cell")[0]
    for name in (
        f"stores/{'1' * 64}.partial/a",
        f"stores/{NCS.of_kind('store')[0].key}.partial/a",  # the next run of the suite completes it
        f"progress/{'2' * 64}/last.pt",
        f"progress/{cell.key}/last.pt",  # the next run continues from it
        f"logs/{'3' * 64}.log",
        "damaged/cells/a.json",
        "trash/abc/a",
        "retried/cells/b.json",
        "ray/run/a",
        "memory/card/a.json",
        "weights/published/a",
    ):
        path = workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    assert names(workspace, NCS).keys() == {
        f"stores/{'1' * 64}.partial",
        f"progress/{'2' * 64}",
        f"logs/{'3' * 64}.log",
        "damaged/cells",
        "trash/abc",
        "retried/cells",
        "ray/run",
    }


def test_a_deletion_is_whole_or_not_done(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workspace.path("stores", "ab" * 32)
    folder.mkdir(parents=True)
    (folder / "index.json").touch()
    leftover = Leftover(folder, 0, "not needed", folder.name)
    with workspace.lock(folder.name):
        assert not delete(workspace, leftover)
        assert (folder / "index.json").exists()

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            delete(workspace, leftover)
    assert not folder.exists()
    (rest,) = leftovers([NCS], workspace)
    assert rest.why == "an interrupted deletion"
    assert delete(workspace, rest)
    assert leftovers([NCS], workspace) == []
    assert not delete(workspace, leftover)
