"""Pretrainings on Ray Train; nothing here starts Ray."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.planning import Job
from sg_bench.recipes import DiscoveryRecipe
from sg_bench.running.cluster import trainings
from sg_bench.running.cluster.backend import CardMemory, RayBackend
from sg_bench.running.cluster.cells import CellTrials
from sg_bench.running.cluster.occupancy import Occupancy
from sg_bench.running.cluster.trainings import on_train
from sg_bench.running.schedule import Unit
from sg_bench.training.ranks import World
from sg_bench.workspace import LockedElsewhere, Workspace
from tests.recipes import corpus_recipe, pretraining_recipe


def test_ray_train_runs_what_has_a_corpus_to_train_on() -> None:
    discovery = DiscoveryRecipe(settings=DiscoverySettings(), corpus=corpus_recipe())
    assert on_train(Job(pretraining_recipe("rotation", corpus_recipe()), (), "pretrain"))
    assert not on_train(Job(pretraining_recipe("scratch"), (), "scratch"))
    assert not on_train(Job(discovery, (), "discover"))


def test_pretrainings_run_side_by_side_where_there_is_room_and_one_that_does_not_fit_lets_others_go_first(
    tmp_path: Path,
) -> None:
    backend = object.__new__(RayBackend)
    backend.workspace, backend.occupancy, backend.refreshed_at = Workspace(tmp_path), Occupancy(16, 4), time.monotonic()
    backend.memory = CardMemory(backend.workspace, [], 16)
    backend.cells = CellTrials(backend.workspace, backend.occupancy, str)
    units = {workers: Unit(pretraining(workers)) for workers in (2, 3, 1, 4)}
    running: list[Unit] = []
    for unit in units.values():
        if backend.fits(unit, running):
            backend.occupancy.take(unit.name, backend._demand(unit.job))
            running.append(unit)
    assert running == [units[2], units[1]]
    backend.occupancy.release(units[2].name)
    assert backend.fits(units[3], [units[1]])
    assert not backend.fits(units[4], [units[1]])
    assert backend.fits(units[4], [])


def test_what_another_run_computes_is_returned_by_every_rank_and_only_rank_0_reports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def execute(job: Job, workspace: Workspace, progress: Any, world: World, *, wait: bool) -> None:
        progress(1, 2)
        raise LockedElsewhere(job.key)

    monkeypatch.setattr(trainings, "execute", execute)
    for rank in (0, 1):
        context = SimpleNamespace(get_world_rank=lambda rank=rank: rank, get_world_size=lambda: 2)
        monkeypatch.setattr("ray.train.get_context", lambda context=context: context)
        work = tmp_path / str(rank)
        failure = trainings.pretrain_worker({"job": pretraining(2), "root": work})
        assert failure is not None
        assert failure.busy
        assert (work / "progress").exists() == (rank == 0)


def pretraining(workers: int) -> Job:
    return Job(pretraining_recipe("rotation", corpus_recipe(), seed=workers, workers=workers), (), "pretrain")
