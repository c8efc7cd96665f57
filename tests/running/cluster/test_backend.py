"""Shares of GPUs on Ray; nothing here starts Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle, tune
from ray.tune.trainable.function_trainable import wrap_function

from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe
from sg_bench.running.cluster.backend import RayBackend
from sg_bench.running.cluster.cells import fine_tune_trial, resources_of
from sg_bench.running.failures import Failure
from sg_bench.running.memory import note_peak
from sg_bench.running.packing import Card
from sg_bench.tasks import read_task
from sg_bench.workspace import Workspace
from tests.recipes import corpus_recipe, pretraining_recipe, store_recipe


class TestSharedCards:
    """Shares of GPUs, decided without a cluster."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> RayBackend:
        made = object.__new__(RayBackend)
        made.workspace, made.gpu, made.cores_a_card = Workspace(tmp_path), 1, 8
        made.cards = [Card("GPU-a", "H200", 143_771, 143_000), Card("GPU-b", "T4", 15_360, 15_000)]
        note_peak(made.workspace, "H200", cell("ncc"), reserved=3000.0, allocated=2000.0)
        note_peak(made.workspace, "T4", cell("ncc"), reserved=3600.0, allocated=2000.0)
        return made

    def test_a_trial_asks_for_its_largest_measurement_on_the_smallest_card(self, backend: RayBackend) -> None:
        assert backend._trial_resources(Job(cell("ncc"), (), "")) == {"CPU": 1.0, "GPU": 0.3333}
        assert backend._trial_resources(Job(cell("ncs"), (), "")) == {"CPU": 1.0, "GPU": 1.0}

    def test_one_trial_of_each_kind_that_was_not_measured_runs_first(
        self, backend: RayBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts: list[list[str]] = []

        def run_trials(jobs: list[Job], progress: Any) -> dict[str, Failure]:
            parts.append([job.title for job in jobs])
            return {}

        monkeypatch.setattr(backend, "_run_trials", run_trials)
        monkeypatch.setattr(backend, "_record_lost", lambda jobs: None)
        jobs = [Job(cell(task, seed), (), f"{task} {seed}") for seed in (0, 1) for task in ("ncc", "ncs", "lcs")]
        progress: Any = None
        backend.fine_tune(jobs, progress)
        assert parts == [["ncs 0", "lcs 0"], ["ncc 0", "ncc 1", "ncs 1", "lcs 1"]]
        backend.cards, parts[:] = [], []
        backend.fine_tune(jobs, progress)
        assert parts == [["ncc 0", "ncs 0", "lcs 0", "ncc 1", "ncs 1", "lcs 1"]]

    def test_without_a_gpu_a_trial_asks_for_a_processor(self, backend: RayBackend) -> None:
        backend.gpu, backend.cards = 0, []
        assert backend._trial_resources(Job(cell("ncc"), (), "")) == {"CPU": 1.0}

    def test_cards_that_no_node_listed_are_given_whole(self, backend: RayBackend) -> None:
        backend.cards = []
        assert backend._trial_resources(Job(cell("ncc"), (), "")) == {"CPU": 1.0, "GPU": 1.0}

    def test_ray_can_pickle_what_decides_a_trials_resources(self) -> None:
        trainable = tune.with_resources(
            tune.with_parameters(fine_tune_trial, jobs={}, root=""), resources_of({"a": {"CPU": 1.0, "GPU": 0.25}})
        )
        again = cloudpickle.loads(cloudpickle.dumps(trainable))
        assert wrap_function(again).default_resource_request({"key": "a"}).required_resources == {"CPU": 1, "GPU": 0.25}


def cell(task: str, seed: int = 0) -> CellRecipe:
    return CellRecipe(
        task=read_task(task),
        store=store_recipe(),
        initialisation=pretraining_recipe("rotation", corpus_recipe()),
        pretraining_seed=0,
        fine_tuning_seed=seed,
    )
