"""The Ray backend knows Ray's errors; nothing here starts Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ray import exceptions, train, tune
from ray.train.v2._internal import exceptions as train_exceptions

from sg_bench.errors import DamagedError, DataError, MethodError
from sg_bench.planning import Job
from sg_bench.running.cluster.errors import RESTARTS, failure_kind, training_failure
from sg_bench.running.failures import Failure
from tests.recipes import corpus_recipe, pretraining_recipe

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
        (exceptions.ObjectLostError("0" * 56, None, ""), "infrastructure"),
        (exceptions.OwnerDiedError("0" * 56, None, ""), "infrastructure"),
        (exceptions.OutOfDiskError("full"), "infrastructure"),
        (exceptions.GetTimeoutError("no answer"), "infrastructure"),
        (exceptions.RpcError("unavailable", 14), "infrastructure"),
        (exceptions.TaskUnschedulableError("no such resource"), "infrastructure"),
        (exceptions.ActorUnschedulableError("no such resource"), "infrastructure"),
        (tune.TuneError("Trials did not complete"), "infrastructure"),
        (train_exceptions.WorkerGroupStartupTimeoutError(2), "infrastructure"),
        (train_exceptions.WorkerGroupStartupFailedError("no answer"), "infrastructure"),
        (train_exceptions.WorkerHealthCheckTimeoutError("no answer"), "infrastructure"),
        (train_exceptions.WorkerHealthCheckFailedError("no answer", exceptions.ActorDiedError()), "infrastructure"),
        (train_exceptions.InsufficientClusterResourcesError("8 GPUs"), "infrastructure"),
        (exceptions.LocalRayletDiedError(), "infrastructure"),
        (exceptions.RuntimeEnvSetupError("no such folder"), "infrastructure"),
        (task_error(SHAPE), "method"),
        (task_error(DataError("no images")), "data"),
        (task_error(MemoryError()), "infrastructure"),
        (task_error(exceptions.NodeDiedError("gone")), "infrastructure"),
        (task_error(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")), "infrastructure"),
        (task_error(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")), "infrastructure"),
        (task_error(torch.distributed.DistBackendError("NCCL error in: init.cpp")), "infrastructure"),
        (task_error(RuntimeError("Gloo connectFullMesh failed with no error")), "infrastructure"),
        (train.TrainingFailedError("no worker could be started"), "infrastructure"),
        (train.ControllerError(RuntimeError("the controller died")), "infrastructure"),
        (ranks(exceptions.ActorDiedError(), GLOO), "infrastructure"),
        (ranks(GLOO, RuntimeError("CUDA out of memory")), "infrastructure"),
        (ranks(torch.distributed.DistBackendError("NCCL error in: init.cpp"), GLOO), "infrastructure"),
        (ranks(exceptions.OutOfMemoryError("killed by the memory monitor"), GLOO), "infrastructure"),
        (ranks(exceptions.NodeDiedError("the node is gone"), task_error(SHAPE)), "method"),
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


@pytest.mark.parametrize(
    "error", [train.ControllerError(RuntimeError("the controller died")), exceptions.ActorDiedError()]
)
def test_a_training_that_no_worker_has_begun_is_started_again_by_the_scheduler(error: Exception) -> None:
    failure = training_failure(error, JOB)
    assert (failure.kind, failure.transient) == ("infrastructure", True)
    assert failure.message.startswith("pretrain mine, seed 0: Ray could not run it: ")
