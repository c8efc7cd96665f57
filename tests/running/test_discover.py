"""Self-discovery in portions: in parallel, resumed after a kill, and always with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from sg_bench.data.store import Store
from sg_bench.planning import Job, Plan, TypedJob
from sg_bench.recipes import DiscoveryRecipe
from sg_bench.running.local import WorkerProcesses
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Backend, Scheduler, Unit
from sg_bench.running.stages.discover import PORTION, Share
from sg_bench.running.stages.dispatch import attempt, execute
from sg_bench.workspace import Workspace
from tests.running.test_controls import planned
from tests.running.test_schedule import FakeBackend

SECONDS = 60.0
"""For a process to reach the portion at which it is killed."""
PAUSE = 0.3
"""Seconds after each portion of a process that is going to be killed."""


def quiet(done: int, total: int | None) -> None:
    """Report progress to nobody."""


@pytest.fixture(autouse=True)
def portions_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PORTION, 3, 1)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned()


@pytest.fixture(scope="module")
def prepared(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace with all that the discovery needs."""
    root = tmp_path_factory.mktemp("prepared")
    for key in job_of(plan).needs:
        execute(plan.jobs[key], Workspace(root), quiet)
    return root


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(prepared, tmp_path / "work"))


@pytest.fixture(scope="module")
def serial(plan: Plan, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of the patterns that one process finds in one go."""
    workspace = Workspace(shutil.copytree(prepared, tmp_path_factory.mktemp("serial") / "work"))
    execute(job_of(plan), workspace, quiet)
    return files(workspace, job_of(plan))


def job_of(plan: Plan) -> TypedJob[DiscoveryRecipe]:
    (job,) = plan.of_kind("patterns")
    return job


def files(workspace: Workspace, job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in workspace.path("patterns", job.key).iterdir()}


def saved(workspace: Workspace, job: Job, step: str) -> dict[str, int]:
    """Return when each portion was saved, by name."""
    paths = workspace.partial("patterns", job.key).glob(f"*/{step}-*")
    return {path.name: path.stat().st_mtime_ns for path in paths}


@pytest.mark.parametrize("count", [1, 3])
def test_shares_in_any_order_give_the_bytes_of_one_process(
    plan: Plan, workspace: Workspace, serial: dict[str, bytes], count: int
) -> None:
    job = job_of(plan)
    for step in ("encode", "cut"):
        for index in reversed(range(count)):
            share = Share(cast(Any, step), index, count)
            assert attempt(job, workspace, quiet, share=share) is None
        assert len(saved(workspace, job, step)) == 8
    execute(job, workspace, quiet)
    assert files(workspace, job) == serial
    assert not workspace.partial("patterns", job.key).exists()


@pytest.mark.parametrize("damage", ["flipped", "cut off", "empty"])
def test_damaged_latents_are_set_aside_and_encoded_again(
    plan: Plan, workspace: Workspace, serial: dict[str, bytes], damage: str
) -> None:
    job = job_of(plan)
    assert attempt(job, workspace, quiet, share=Share("encode", 0, 1)) is None
    path = sorted(workspace.partial("patterns", job.key).glob("*/encode-*"))[3]
    raw = path.read_bytes()
    damaged = {"flipped": raw[:-40] + bytes([raw[-40] ^ 0xFF]) + raw[-39:], "cut off": raw[:-50], "empty": b""}[damage]
    path.write_bytes(damaged)
    execute(job, workspace, quiet)
    assert files(workspace, job) == serial
    aside = workspace.root / "damaged" / "patterns" / job.key / path.parent.name / path.name
    assert aside.read_bytes() == damaged


def test_a_share_of_finished_patterns_does_nothing(plan: Plan, workspace: Workspace) -> None:
    job = job_of(plan)
    execute(job, workspace, quiet)
    assert attempt(job, workspace, quiet, share=Share("cut", 0, 2)) is None
    assert not workspace.partial("patterns", job.key).exists()


def test_progress_counts_the_portions_of_both_steps_whoever_did_them(plan: Plan, workspace: Workspace) -> None:
    job, seen = job_of(plan), []
    attempt(job, workspace, quiet, share=Share("encode", 1, 2))
    execute(job, workspace, lambda done, total: seen.append((done, total)))
    assert seen == [*((number, 16) for number in range(5, 17)), (1, 1)]


def discover_slowly(job: Job, root: Path) -> None:
    PORTION[3] = 1
    execute(job, Workspace(root), lambda done, total: time.sleep(PAUSE))


def kill_when(moment: Callable[[], bool], job: Job, workspace: Workspace) -> None:
    """Start a discovery in a process of its own, and kill that at `moment`."""
    process = get_context("spawn").Process(target=discover_slowly, args=(job, workspace.root))
    process.start()
    end = time.monotonic() + SECONDS
    while not moment():
        assert process.is_alive(), "it ended too early"
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.01)
    os.kill(cast(int, process.pid), signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_killed_while_encoding_and_while_cutting_it_loses_only_the_portion_in_work(
    plan: Plan, workspace: Workspace, serial: dict[str, bytes]
) -> None:
    job = job_of(plan)
    kill_when(lambda: len(saved(workspace, job, "encode")) >= 3, job, workspace)
    encoded = saved(workspace, job, "encode")
    assert 3 <= len(encoded) < 8
    kill_when(lambda: len(saved(workspace, job, "cut")) >= 2, job, workspace)
    assert encoded.items() <= saved(workspace, job, "encode").items()
    cut = saved(workspace, job, "cut")
    assert 2 <= len(cut) < 8
    done: list[int] = []
    execute(job, workspace, lambda count, total: done.append(count))
    assert len(done) - 1 == 8 - len(cut)  # the last is the end of the job
    assert files(workspace, job) == serial


def test_portions_of_other_images_are_not_taken_up(
    plan: Plan, workspace: Workspace, serial: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(plan)
    with monkeypatch.context() as then:
        then.setattr(Store, "image", lambda store, id_: np.zeros((48, 48, 32), np.float16))
        then.setattr(Store, "__getitem__", lambda store, id_: SimpleNamespace(image_digest="of another image"))
        assert attempt(job, workspace, quiet, share=Share("encode", 0, 1)) is None
    assert len(saved(workspace, job, "encode")) == 8
    execute(job, workspace, quiet)
    assert files(workspace, job) == serial


class TestScheduler:
    def test_every_step_is_shared_out_and_waits_for_the_one_before(self, plan: Plan, tmp_path: Path) -> None:
        job, workspace, ended = job_of(plan), Workspace(tmp_path), []
        backend = FakeBackend(lambda unit: ended.append(unit.name), slots=3)
        scheduler = Scheduler([job], backend, workspace, Progress([job], workspace, lambda _: None, terminal=False))
        assert scheduler.run().done == {job.key}
        steps = [[f"{job.key}/{step} {index}" for index in range(3)] for step in ("encode", "cut")]
        assert [sorted(ended[:3]), sorted(ended[3:6]), ended[6:]] == [*steps, [job.key]]

    def test_there_are_no_more_shares_than_portions(
        self, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(PORTION, 3, 4)
        job, workspace = job_of(plan), Workspace(tmp_path)
        backend = FakeBackend(lambda _: None, slots=16)
        Scheduler([job], backend, workspace, Progress([job], workspace, lambda _: None, terminal=False)).run()
        assert len(backend.started) == 2 + 2 + 1

    def test_random_neighbours_need_no_encoding(self, tmp_path: Path) -> None:
        job, workspace = job_of(planned(neighbours_by="random")), Workspace(tmp_path)
        backend = FakeBackend(lambda _: None)
        Scheduler([job], backend, workspace, Progress([job], workspace, lambda _: None, terminal=False)).run()
        assert not [name for name in backend.started if "encode" in name]

    def test_one_slot_runs_the_whole_job_at_once(self, plan: Plan, tmp_path: Path) -> None:
        job, workspace = job_of(plan), Workspace(tmp_path)
        backend = FakeBackend(lambda _: None, slots=1)
        Scheduler([job], backend, workspace, Progress([job], workspace, lambda _: None, terminal=False)).run()
        assert backend.started == [job.key]


@pytest.fixture(params=["local", "ray"])
def backend(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Backend]:
    if request.param == "local":
        started: Any = WorkerProcesses(workspace, 2)
    else:
        from sg_bench.running.cluster.backend import RayBackend

        started = RayBackend(workspace, "local", 2)
    yield started
    started.close()


@pytest.mark.cluster
def test_two_processes_of_any_backend_give_the_bytes_of_one(
    plan: Plan, workspace: Workspace, serial: dict[str, bytes], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, units = job_of(plan), []
    submit = backend.submit

    def noted(unit: Unit) -> Any:
        units.append(unit.name)
        return submit(unit)

    monkeypatch.setattr(backend, "submit", noted)
    monkeypatch.setitem(PORTION, 3, 4)
    outcome = Scheduler([job], backend, workspace, Progress([job], workspace, print, terminal=False)).run()
    assert (outcome.done, outcome.failures) == ({job.key}, {})
    assert len(units) == 5
    assert files(workspace, job) == serial
