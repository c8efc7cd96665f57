"""The ray backend: pretraining on Ray Train, fine-tuning on Ray Tune, the rest as plain tasks.

Ray only executes. What is done stands in the workspace, which all nodes must share, and a training keeps its own
checkpoint there, so neither Ray's snapshots nor its restore are used.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray import train, tune
from ray.train.torch import TorchTrainer

from sg_bench.errors import SgBenchError
from sg_bench.ledger import Ledger
from sg_bench.planning import Job
from sg_bench.running.environment import single_threaded
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.jobs import attempt, execute
from sg_bench.running.local import work
from sg_bench.running.progress import Progress, reporter
from sg_bench.running.schedule import Unit
from sg_bench.training.ranks import World
from sg_bench.workspace import Workspace

KNOCK_SECONDS = 10.0
"""How long to wait for somebody to answer at HOST:PORT."""
RESTARTS = 3
"""How often Ray starts a training again whose worker or node was lost."""


class RayBackend:
    """Runs units on a Ray cluster.

    Args:
        workspace: on storage that every node sees under the same path.
        address: "local" starts a cluster here, "auto" or HOST:PORT joins one.
        jobs: processors of the local cluster.

    Raises:
        SgBenchError: the cluster cannot be reached.
    """

    def __init__(self, workspace: Workspace, address: str, jobs: int) -> None:
        self.workspace = workspace
        self.runs: list[str] = []
        _connect(address, jobs)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.slots = max(1, int(resources.get("CPU", 1)))
        self.gpu = min(1, int(resources.get("GPU", 0)))
        self.threads = ThreadPoolExecutor(self.slots)
        environment = {"env_vars": single_threaded()}
        self.task: Any = ray.remote(num_cpus=1, runtime_env=environment)(work)
        self.device_task: Any = ray.remote(num_cpus=1, num_gpus=self.gpu, runtime_env=environment)(work)

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit: a pretraining on Ray Train, anything else as a task."""
        if on_train(unit.job):
            return self.threads.submit(self._pretrain, unit.job)
        task = self.task if unit.job.kind == "store" else self.device_task
        future: Future[Failure | None] = task.remote(unit.job, self.workspace.root, unit.cases).future()
        return future

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        ray.shutdown()
        for name in self.runs:
            shutil.rmtree(self.workspace.path("ray", name), ignore_errors=True)

    def _new_run(self, what: str) -> str:
        """Return a name that no earlier run has: Ray would resume a run of the same name by its own snapshot."""
        name = f"{what[:16]}-{uuid.uuid4().hex[:8]}"
        self.runs.append(name)
        return name

    def _pretrain(self, job: Job) -> Failure | None:
        trainer = TorchTrainer(
            pretrain_worker,  # type: ignore[arg-type] # V2 hands on what rank 0 returns
            train_loop_config={"job": job, "root": str(self.workspace.root)},
            scaling_config=train.ScalingConfig(
                num_workers=job.workers, use_gpu=bool(self.gpu), resources_per_worker=self._resources(1.0)
            ),
            run_config=train.RunConfig(  # type: ignore[call-arg] # declared as V1's, is V2's
                name=self._new_run(job.key),
                storage_path=str(self.workspace.path("ray")),
                failure_config=train.FailureConfig(max_failures=RESTARTS),
                logging_config=train.LoggingConfig(log_level="ERROR"),
                worker_runtime_env={"env_vars": single_threaded()},
            ),
        )
        failure: Failure | None = trainer.fit().return_value  # type: ignore[attr-defined] # likewise
        return failure

    def fine_tune(self, jobs: Sequence[Job], progress: Progress) -> None:
        """Run cells as the trials of one Tune experiment; workers are reused from trial to trial."""
        by_key = {job.key: job for job in jobs}
        trial = tune.with_parameters(fine_tune_trial, jobs=by_key, root=str(self.workspace.root))
        tuner = tune.Tuner(
            tune.with_resources(trial, self._resources(1.0)),
            param_space={"key": tune.grid_search(list(by_key))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=self.slots),
            run_config=tune.RunConfig(
                name=self._new_run("cells"),
                storage_path=str(self.workspace.path("ray")),
                failure_config=tune.FailureConfig(max_failures=2),
                verbose=0,
                callbacks=[_Watch(by_key, progress, self.workspace)],
            ),
        )
        tuner.fit()
        self._record_lost(jobs)

    def _record_lost(self, jobs: Sequence[Job]) -> None:
        """Record the cells whose trial ended without a word: Tune counts a stopped trial as finished."""
        ledger = Ledger(self.workspace)
        for job in jobs:
            if ledger.get(job.key) is None:
                message = f"{job.title}: its worker was lost and did not come back"
                ledger.put(failed_record(job, Failure("infrastructure", "WorkerDied", message, "")))

    def _resources(self, processors: float) -> dict[str, float]:
        return {"CPU": processors, "GPU": float(self.gpu)} if self.gpu else {"CPU": processors}


def on_train(job: Job) -> bool:
    """Return whether a job is a training for Ray Train: not scratch, nor an auto-encoder of one worker."""
    if job.kind != "initialisation" or not job.recipe["corpus"]:
        return False
    return job.recipe["method"] != "autoencoder" or job.workers > 1


def pretrain_worker(config: dict[str, Any]) -> Failure | None:
    """Do one rank's part of a pretraining; what only a restart can mend is raised, so that Ray restarts it."""
    context = train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    workspace, job = Workspace(config["root"]), config["job"]
    try:
        execute(job, workspace, reporter(workspace, job.key), world)
    except SgBenchError as error:
        return Failure.of(error)
    return None


def fine_tune_trial(config: dict[str, Any], jobs: dict[str, Job], root: str) -> None:
    """Compute one cell; its result is in the ledger, Tune only learns that it ended."""
    workspace, job = Workspace(root), jobs[config["key"]]
    failure = attempt(job, workspace, reporter(workspace, job.key))
    tune.report({"failed": failure is not None})


class _Watch(tune.Callback):
    """Tells progress of trials; runs in the driver."""

    def __init__(self, jobs: dict[str, Job], progress: Progress, workspace: Workspace) -> None:
        self.jobs, self.progress, self.ledger = jobs, progress, Ledger(workspace)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a start."""
        self.progress.started(self.jobs[trial.config["key"]])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note an end, and why it failed if it did."""
        job = self.jobs[trial.config["key"]]
        record = self.ledger.get(job.key)
        failure = Failure(**record["error"]) if record and record["status"] == "failed" else None
        self.progress.finished(job, failure)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial that was given up."""
        job = self.jobs[trial.config["key"]]
        self.progress.finished(job, Failure("infrastructure", "WorkerDied", f"{job.title}: its worker was lost", ""))


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at HOST:PORT: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _connect(address: str, jobs: int) -> None:
    """Start or join a cluster, quietly, with token authentication and without usage reports."""
    local: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise SgBenchError(f"no Ray cluster at '{address}': {cause}", hint="Use --ray-address local") from error
    token = Path.home() / ".ray" / "auth_token"
    if token.exists():
        token.chmod(0o600)  # Ray leaves the token that it makes readable by everyone
