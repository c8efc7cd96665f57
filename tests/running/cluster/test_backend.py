"""Shares of GPUs on Ray; nothing here starts Ray."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import ray
from ray import cloudpickle, exceptions, tune
from ray.tune.trainable.function_trainable import wrap_function

from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe
from sg_bench.running.cluster import backend as backends
from sg_bench.running.cluster.backend import AHEAD, CardMemory, RayBackend
from sg_bench.running.cluster.cells import (
    CellTrials,
    QueuedCell,
    decoded,
    encoded,
    fine_tune_trial,
    trial_resources,
)
from sg_bench.running.cluster.connect import Connection
from sg_bench.running.cluster.occupancy import Demand, Occupancy
from sg_bench.running.cluster.outage import LostClusterError
from sg_bench.running.memory import note_peak
from sg_bench.running.packing import Card
from sg_bench.running.schedule import Unit
from sg_bench.tasks import read_task
from sg_bench.workspace import Workspace
from tests.recipes import corpus_recipe, pretraining_recipe, store_recipe


class TestSharedCards:
    """Shares of GPUs, decided without a cluster."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> RayBackend:
        made = object.__new__(RayBackend)
        made.workspace, made.occupancy, made.refreshed_at = Workspace(tmp_path), Occupancy(16, 2), time.monotonic()
        made.cells = CellTrials(made.workspace, made.occupancy, str)
        cards = [Card("GPU-a", "H200", 143_771, 143_000), Card("GPU-b", "T4", 15_360, 15_000)]
        made.memory = CardMemory(made.workspace, cards, 16)
        note_peak(made.workspace, "H200", cell("ncc"), reserved=3000.0, allocated=2000.0)
        note_peak(made.workspace, "T4", cell("ncc"), reserved=3600.0, allocated=2000.0)
        return made

    def test_a_trial_asks_for_its_largest_measurement_on_the_smallest_card(self, backend: RayBackend) -> None:
        assert backend._demand(job("ncc")).resources == {"GPU": 0.3333}
        assert backend._demand(job("ncs")).resources == {"GPU": 1.0}

    def test_one_trial_of_each_kind_that_was_not_measured_runs_before_others_of_its_kind(
        self, backend: RayBackend
    ) -> None:
        running = [Unit(job("ncs", 0))]
        assert not backend.fits(Unit(job("ncs", 1)), running)
        assert backend.fits(Unit(job("lcs", 0)), running)
        assert backend.fits(Unit(job("ncc", 0)), running)
        note_peak(backend.workspace, "T4", cell("ncs"), reserved=3600.0, allocated=2000.0)
        backend.memory._peaks.clear()
        assert backend.fits(Unit(job("ncs", 1)), running)

    def test_cells_share_gpus_by_memory_whatever_processors_do(self, backend: RayBackend) -> None:
        for number in range(16):
            backend.occupancy.take(f"preparation {number}", Demand(1.0))
        running = [Unit(job("ncc", 0))]
        for number in range(6):
            assert backend.fits(Unit(job("ncc", number)), running)
            backend.occupancy.take(f"cell {number}", backend._demand(job("ncc")))
        assert not backend.occupancy.fits(backend._demand(job("ncc")))

    def test_some_cells_are_queued_before_they_fit(self, backend: RayBackend) -> None:
        running = [Unit(job("ncc", 0))]
        backend.occupancy.take("all", Demand(16.0, 2.0))
        for number in range(AHEAD):
            assert backend.fits(Unit(job("ncc", number)), running)
            backend.cells.queue.append(QueuedCell(job("ncc", number), Demand(gpus=0.25)))
        assert not backend.fits(Unit(job("ncc", 9)), running)

    def test_without_a_gpu_a_trial_asks_for_a_processor(self, backend: RayBackend) -> None:
        backend.occupancy.gpus, backend.memory.cards = 0.0, []
        assert backend._demand(job("ncc")).resources == {"CPU": 1.0}

    def test_cards_that_no_node_listed_are_given_whole(self, backend: RayBackend) -> None:
        backend.memory.cards = []
        assert backend._demand(job("ncc")).resources == {"GPU": 1.0}

    def test_a_pretraining_asks_for_a_gpu_and_a_processor_for_each_worker(self, backend: RayBackend) -> None:
        pretraining = Job(pretraining_recipe("rotation", corpus_recipe(), workers=2), (), "")
        assert backend._demand(pretraining) == Demand(2, 2)

    def test_ray_can_pickle_what_decides_a_trials_resources(self) -> None:
        trainable = cloudpickle.loads(cloudpickle.dumps(tune.with_resources(fine_tune_trial, trial_resources)))
        asked = wrap_function(trainable).default_resource_request({"resources": {"GPU": 0.25}})
        assert asked.required_resources == {"GPU": 0.25}

    def test_a_job_crosses_to_a_trial_as_text(self) -> None:
        assert decoded(encoded(job("ncc"))) == job("ncc")

    def test_an_error_is_described_by_its_one_line(self, backend: RayBackend) -> None:
        lost = backend.failure(exceptions.ActorDiedError())
        assert (lost.kind, lost.transient, lost.message.count(chr(10))) == ("infrastructure", True, 0)

    def test_nothing_is_recorded_where_ray_itself_has_stopped(
        self, backend: RayBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for error in (LostClusterError("Ray stopped"), exceptions.LocalRayletDiedError()):
            with pytest.raises(LostClusterError, match="Ray stopped"):
                backend.failure(error)
        backend.connection = cast(Connection, SimpleNamespace(local=True))
        monkeypatch.setattr(backends, "ended_server", lambda: "Ray's raylet ended unexpectedly (by signal 9)")
        backend.refreshed_at -= 9
        with pytest.raises(LostClusterError, match="raylet ended unexpectedly"):
            backend.fits(Unit(job("ncc")), [Unit(job("ncc", 1))])
        monkeypatch.setattr(backends, "ended_server", str)
        monkeypatch.setattr(ray, "cluster_resources", lambda: (_ for _ in ()).throw(exceptions.RaySystemError("gone")))
        backend.refreshed_at -= 9
        with pytest.raises(LostClusterError, match="Ray stopped: System error: gone"):
            backend.fits(Unit(job("ncc")), [Unit(job("ncc", 1))])


def job(task: str, seed: int = 0) -> Job:
    return Job(cell(task, seed), (), f"{task} {seed}")


def cell(task: str, seed: int = 0) -> CellRecipe:
    return CellRecipe(
        task=read_task(task),
        store=store_recipe(),
        initialisation=pretraining_recipe("rotation", corpus_recipe()),
        pretraining_seed=0,
        fine_tuning_seed=seed,
    )
