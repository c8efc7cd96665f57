"""Pretrainings on Ray Train."""

from __future__ import annotations

from typing import Any

from ray import train
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer

from sg_bench.errors import SgBenchError
from sg_bench.planning import Job
from sg_bench.recipes import PretrainingRecipe
from sg_bench.running.cluster.errors import RESTARTS, training_failure
from sg_bench.running.cluster.process_group import ReportedTorchConfig
from sg_bench.running.environment import single_threaded
from sg_bench.running.failures import Failure
from sg_bench.running.progress import reporter
from sg_bench.running.stages.dispatch import execute
from sg_bench.training.ranks import World
from sg_bench.workspace import Workspace


def on_train(job: Job) -> bool:
    """Return whether a job is a training, which Ray Train runs; an initialisation without a corpus is not."""
    return isinstance(job.recipe, PretrainingRecipe) and job.recipe.corpus is not None


def pretrain(job: Job, workspace: Workspace, *, name: str, resources: dict[str, float]) -> Failure | None:
    """Run a pretraining to its end.

    Args:
        job: `on_train`.
        workspace: of the result.
        name: of the run, unique: Ray would resume an earlier run of the same name from its own snapshot.
        resources: of each worker.
    """
    trainer = TorchTrainer(
        pretrain_worker,  # type: ignore[arg-type] # V2 hands on what rank 0 returns
        train_loop_config={"job": job, "root": workspace.location},
        torch_config=ReportedTorchConfig(),
        scaling_config=train.ScalingConfig(
            num_workers=job.workers, use_gpu="GPU" in resources, resources_per_worker=resources
        ),
        run_config=train.RunConfig(  # type: ignore[call-arg] # declared as V1's, is V2's
            name=name,
            storage_path=str(workspace.path("ray")),
            failure_config=train.FailureConfig(max_failures=RESTARTS),
            logging_config=train.LoggingConfig(log_level="ERROR"),
            worker_runtime_env={"env_vars": single_threaded()},
        ),
    )
    try:
        failure: Failure | None = trainer.fit().return_value  # type: ignore[attr-defined] # likewise
    except (train.TrainingFailedError, RayError) as error:  # after RESTARTS restarts
        return training_failure(error, job)
    return failure


def pretrain_worker(config: dict[str, Any]) -> Failure | None:
    """Run one rank of a pretraining; an error that a restart may fix is raised, so that Ray restarts all ranks.

    What no restart can mend is returned, and so is, by all ranks, that another run computes the same. Where there are
    other ranks, an unexpected error must be raised nevertheless: they would wait for this one for ever.
    """
    context = train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    workspace, job = Workspace(config["root"]), config["job"]
    progress = reporter(workspace, job.key) if world.rank == 0 else _silent
    try:
        execute(job, workspace, progress, world, wait=False)
    except Exception as error:
        failure = Failure.of(error)
        if failure.busy:
            return failure
        expected = isinstance(error, SgBenchError) and not failure.damaged  # one rank may find damage, and others not
        if failure.transient or (world.size > 1 and not expected):
            raise
        return failure
    return None


def _silent(done: int, total: int | None) -> None:
    """Leave the progress to rank 0."""
