"""The Ray backend knows Ray's errors; nothing here starts Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle, exceptions, train, tune
from ray.tune.trainable.function_trainable import wrap_function

from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.errors import DamagedError, DataError, MethodError
from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe, DiscoveryRecipe
from sg_bench.running.failures import Failure
from sg_bench.running.memory import note_peak
from sg_bench.running.on_ray import (
    RESTARTS,
    RayBackend,
    failure_kind,
    fine_tune_trial,
    on_train,
    resources_of,
    training_failure,
)
from sg_bench.running.packing import Card
from sg_bench.tasks import read_task
from sg_bench.workspace import Workspace
from tests.recipes import corpus_recipe, pretraining_recipe, store_recipe

JOB = Job(pretraining_recipe("rotation", corpus_recipe(), workers=2), (), "pretrain mine, seed 0")
GLOO = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")
NAN = MethodError("the loss is NaN")
SHAPE = ValueError("bad shape")


def task_error(cause: Exception) -> exceptions.RayTaskError:
    return exceptions.RayTaskError("work", "Traceback ...", cause)


def ranks(*errors: Exception) -> train.WorkerGroupError:
    return train.WorkerGroupError("two ranks failed", dict(enumerate(errors)))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.WorkerCrashedError(), "infrastructure"),
        (exceptions.NodeDiedError("the node is gone"), "infrastructure"),
        (exceptions.ActorDiedError(), "infrastructure"),
        (exceptions.ActorUnavailableError("no answer", None), "infrastructure"),
        (exceptions.OutOfMemoryError("killed by the memory monitor"), "infrastructure"),
        (exceptions.ObjectStoreFullError("full"), "infrastructure"),
        (exceptions.LocalRayletDiedError(), "infrastructure"),
        (exceptions.RuntimeEnvSetupError("no such folder"), "infrastructure"),
        (task_error(SHAPE), "method"),
        (task_error(DataError("no images")), "data"),
        (task_error(MemoryError()), "infrastructure"),
        (task_error(exceptions.NodeDiedError("gone")), "infrastructure"),
        (train.TrainingFailedError("no worker could be started"), "infrastructure"),
        (train.ControllerError(RuntimeError("the controller died")), "infrastructure"),
        (ranks(exceptions.ActorDiedError(), GLOO), "infrastructure"),
        (ranks(GLOO, RuntimeError("CUDA out of memory")), "infrastructure"),
        (ranks(GLOO, SHAPE), "method"),
        (ranks(NAN, GLOO), "method"),
        (OSError("disk full"), "infrastructure"),
        (SHAPE, "method"),
    ],
)
def test_the_loss_of_a_worker_is_infrastructure_and_a_jobs_own_error_stays_its_own(error: Exception, kind: str) -> None:
    assert failure_kind(error) == kind


def test_a_training_that_was_given_up_is_described_by_the_rank_that_failed_of_itself() -> None:
    assert training_failure(ranks(GLOO, NAN), JOB) == Failure("method", "MethodError", "the loss is NaN", "")


def test_a_training_of_which_one_rank_found_damage_is_described_by_it_and_waits_for_the_damaged_result() -> None:
    found = DamagedError("a.npy: it is cut off", path=Path("stores") / "ab" / "a.npy")
    failure = training_failure(ranks(GLOO, found), JOB)
    assert (failure.kind, failure.damaged, failure.transient) == ("infrastructure", "ab", False)


def test_a_training_whose_workers_were_lost_too_often_is_left_to_the_next_run() -> None:
    found = training_failure(ranks(exceptions.ActorDiedError(), GLOO), JOB)
    assert (found.kind, found.transient) == ("infrastructure", False)
    assert found.message.startswith(f"pretrain mine, seed 0: its workers were lost {RESTARTS + 1} times: ")


def test_ray_train_runs_what_has_a_corpus_to_train_on() -> None:
    discovery = DiscoveryRecipe(settings=DiscoverySettings(), corpus=corpus_recipe())
    assert on_train(JOB)
    assert not on_train(Job(pretraining_recipe("scratch"), (), "scratch"))
    assert not on_train(Job(discovery, (), "discover"))


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
