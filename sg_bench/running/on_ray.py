"""The ray backend: pretraining on Ray Train, fine-tuning on Ray Tune, everything else as plain tasks.

Results and the checkpoints of trainings are kept in the workspace, which all nodes must share, so neither Ray's
snapshots nor its restore are used.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

import ray
from ray import train, tune
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.exceptions import RayError, RayTaskError
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sg_bench.config import key_of
from sg_bench.errors import DamagedError, FailureKind, SgBenchError
from sg_bench.ledger import Ledger
from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe, PretrainingRecipe
from sg_bench.running import failures
from sg_bench.running.environment import single_threaded
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.local import work
from sg_bench.running.memory import measured_mib, memory_settings
from sg_bench.running.packing import Card, card_share, list_cards, measuring_first
from sg_bench.running.progress import Progress, reporter
from sg_bench.running.schedule import ATTEMPTS, Unit
from sg_bench.running.stages.dispatch import execute
from sg_bench.training.ranks import World
from sg_bench.workspace import Workspace

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection to HOST:PORT."""
CARDS_TIMEOUT = 120.0
"""Seconds for the nodes of a cluster to list their GPUs."""
DAMAGE = "damage"
"""Name of a trial's result that holds a failure as JSON if an input of its cell was damaged, else ""."""
RESTARTS = ATTEMPTS - 1
"""Restarts by Ray of a training or trial that lost a worker or node, or ran out of memory."""


class RayBackend:
    """Runs units on a Ray cluster.

    Args:
        workspace: on storage that every node sees under the same path.
        address: "local" starts a cluster here, "auto" or HOST:PORT joins one.
        jobs: processors of the local cluster.

    Raises:
        SgBenchError: the cluster cannot be reached.
    """

    one_machine = False

    def __init__(self, workspace: Workspace, address: str, jobs: int) -> None:
        self.workspace = workspace
        self.runs: list[str] = []
        _connect(address, jobs)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.slots = max(1, int(resources.get("CPU", 1)))
        self.gpu = min(1, int(resources.get("GPU", 0)))
        self.cards = _cluster_cards() if self.gpu else []
        self.cores_a_card = max(1, int(self.slots / max(1.0, resources.get("GPU", 0))))
        self.threads = ThreadPoolExecutor(self.slots)
        # Only trainings use a GPU; a task that asks Ray for none would see them all.
        environment = {"env_vars": {**single_threaded(), "CUDA_VISIBLE_DEVICES": ""}}
        # The scheduler retries, so Ray does not: max_retries=0.
        self.task: Any = ray.remote(num_cpus=1, max_retries=0, runtime_env=environment)(work)

    def fits(self, unit: Unit) -> bool:
        """Return True: Ray itself waits for free devices."""
        return True

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit: a pretraining on Ray Train, anything else as a task."""
        if on_train(unit.job):
            return self.threads.submit(self._pretrain, unit.job)
        started = self.task.remote(unit.job, self.workspace.root, unit.cases, unit.share)
        future: Future[Failure | None] = started.future()
        return future

    def failure(self, error: Exception) -> Failure:
        """Describe an error that Ray raised for a task."""
        return Failure.of(error, failure_kind(error))

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        ray.shutdown()
        for name in self.runs:
            shutil.rmtree(self.workspace.path("ray", name), ignore_errors=True)

    def _new_run(self, what: str) -> str:
        """Return a unique name: Ray would resume an earlier run of the same name from its own snapshot."""
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
        try:
            failure: Failure | None = trainer.fit().return_value  # type: ignore[attr-defined] # likewise
        except (train.TrainingFailedError, RayError) as error:  # after RESTARTS restarts
            return training_failure(error, job)
        return failure

    def fine_tune(self, jobs: Sequence[Job], progress: Progress) -> dict[str, Failure]:
        """Run cells as trials of Tune that share the GPUs; one of each kind whose memory is unknown runs first.

        Returns:
            The cells that could not be computed because an input was damaged, by key.

        Raises:
            SgBenchError: Ray itself stopped, as when the cluster is lost.
        """
        damaged: dict[str, Failure] = {}
        for part in measuring_first(jobs, self._unmeasured):
            if part:
                damaged |= self._run_trials(part, progress)
        self._record_lost([job for job in jobs if job.key not in damaged])
        return damaged

    def _run_trials(self, jobs: Sequence[Job], progress: Progress) -> dict[str, Failure]:
        """Run cells as the trials of one Tune experiment, with reused workers; return those with damaged inputs."""
        by_key = {job.key: job for job in jobs}
        trial = tune.with_parameters(fine_tune_trial, jobs=by_key, root=str(self.workspace.root))
        tuner = tune.Tuner(
            tune.with_resources(trial, resources_of({job.key: self._trial_resources(job) for job in jobs})),
            param_space={"key": tune.grid_search(list(by_key))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=self.slots),
            run_config=tune.RunConfig(
                name=self._new_run("cells"),
                storage_path=str(self.workspace.path("ray")),
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                verbose=0,
                callbacks=[_ProgressCallback(by_key, progress, self.workspace)],
            ),
        )
        try:
            results = tuner.fit()
        except (RayError, tune.TuneError) as error:
            cause = str(error).strip().partition("\n")[0]
            hint = "What is finished is kept: run the same command again"
            raise SgBenchError(f"Ray stopped: {cause}", hint=hint) from error
        trials = [results[index] for index in range(len(results))]
        found = {trial.config["key"]: _damage(trial.metrics) for trial in trials if trial.config}
        return {key: failure for key, failure in found.items() if failure}

    def _record_lost(self, jobs: Sequence[Job]) -> None:
        """Record the cells whose trial ended without a result: Tune counts a stopped trial as finished."""
        ledger = Ledger(self.workspace)
        for job in jobs:
            if ledger.get(job.key) is None:
                message = f"{job.title}: its worker was lost and did not come back"
                ledger.put(failed_record(job, Failure("infrastructure", "WorkerDied", message, "")))

    def _peak(self, job: Job) -> float | None:
        """Return a job's peak memory in MiB, the largest of its measurements on the cards of this cluster."""
        peaks = [measured_mib(self.workspace, name, job.recipe) for name in {card.name for card in self.cards}]
        return max((peak for peak in peaks if peak is not None), default=None)

    def _unmeasured(self, job: Job) -> str | None:
        """Return a name for what decides a cell's memory if it must be measured, else None."""
        if not self.cards or not isinstance(job.recipe, CellRecipe) or self._peak(job) is not None:
            return None
        return key_of(memory_settings(job.recipe))

    def _trial_resources(self, job: Job) -> dict[str, float]:
        """Return a processor and, by the cell's measured memory, a share of the smallest card of the cluster."""
        resources = self._resources(1.0)
        if self.gpu and self.cards:
            smallest = min(card.free_mib for card in self.cards)
            resources["GPU"] = card_share(self._peak(job), smallest, self.cores_a_card)
        return resources

    def _resources(self, processors: float) -> dict[str, float]:
        return {"CPU": processors, "GPU": float(self.gpu)} if self.gpu else {"CPU": processors}


def on_train(job: Job) -> bool:
    """Return whether a job is a training, which Ray Train runs; an initialisation without a corpus is not."""
    return isinstance(job.recipe, PretrainingRecipe) and job.recipe.corpus is not None


def pretrain_worker(config: dict[str, Any]) -> Failure | None:
    """Run one rank of a pretraining; an error that a restart may fix is raised, so that Ray restarts all ranks.

    What no restart can mend is returned. Where there are other ranks, an unexpected error must be raised nevertheless:
    they would wait for this one for ever.
    """
    context = train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    workspace, job = Workspace(config["root"]), config["job"]
    try:
        execute(job, workspace, reporter(workspace, job.key), world)
    except Exception as error:
        failure = Failure.of(error)
        expected = isinstance(error, SgBenchError) and not failure.damaged  # one rank may find damage, and others not
        if failure.transient or (world.size > 1 and not expected):
            raise
        return failure
    return None


class TransientError(Exception):
    """A failure of the infrastructure during a cell, raised so that Tune restarts the trial."""


def fine_tune_trial(config: dict[str, Any], jobs: dict[str, Job], root: str) -> None:
    """Compute one cell into the ledger; Tune only learns that it ended."""
    job = jobs[config["key"]]
    failure = work(job, Path(root))
    if failure and failure.transient:
        raise TransientError(failure.message)
    damage = json.dumps(asdict(failure)) if failure and failure.damaged else ""
    tune.report({"failed": failure is not None, DAMAGE: damage})


def _damage(result: Mapping[str, Any] | None) -> Failure | None:
    """Return why a trial could not compute its cell, if something that it needs was damaged."""
    text = (result or {}).get(DAMAGE)
    return Failure(**json.loads(text)) if text else None


def resources_of(table: dict[str, dict[str, float]]) -> Callable[[dict[str, Any]], tune.PlacementGroupFactory]:
    """Return a function from a trial's configuration to its resources, given them by key; Ray pickles it."""

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([table[config["key"]]])

    return resources


def failure_kind(error: BaseException) -> FailureKind:
    """Return whether the method, the data or the infrastructure caused `error`, with Ray's own errors known.

    Ray wraps what a job raised: then the wrapped error counts. Where several ranks failed, one that did not fail by
    the infrastructure counts, since the others lose their connection when it ends.
    """
    if isinstance(error, train.TrainingFailedError):
        kinds = [failure_kind(each) for each in _rank_errors(error)]
        return next((kind for kind in kinds if kind != "infrastructure"), "infrastructure")
    if isinstance(error, RayTaskError):
        return failure_kind(error.cause) if isinstance(error.cause, Exception) else "method"
    return "infrastructure" if isinstance(error, RayError) else failures.failure_kind(error)


def training_failure(error: Exception, job: Job) -> Failure:
    """Return why a training on Ray failed: the error of the first rank that failed on its own, if there is one."""
    kind = failure_kind(error)
    found = next((each for each in _rank_errors(error) if isinstance(each, DamagedError)), None)
    if found:
        return Failure.of(found)
    cause = next((each for each in _rank_errors(error) if failure_kind(each) == kind), error)
    if kind != "infrastructure":
        return Failure.of(cause, kind)
    reason = (str(cause).strip() or type(cause).__name__).splitlines()[-1]
    message = f"{job.title}: its workers were lost {RESTARTS + 1} times: {reason}"
    return Failure(kind, type(cause).__name__, message, str(error))


def _rank_errors(error: Exception) -> list[Exception]:
    """Return what each rank of a training raised, unwrapped; empty if the training did not get so far."""
    found = error.worker_failures.values() if isinstance(error, train.WorkerGroupError) else []
    return [getattr(each, "_base_exc", each) for each in found]


class _ProgressCallback(tune.Callback):
    """Passes the starts and ends of trials to the progress of the run, in the driver."""

    def __init__(self, jobs: dict[str, Job], progress: Progress, workspace: Workspace) -> None:
        self.jobs, self.progress, self.ledger = jobs, progress, Ledger(workspace)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a start."""
        self.progress.started(self.jobs[trial.config["key"]])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note an end, and the reason of a failure."""
        job, damage = self.jobs[trial.config["key"]], _damage(trial.last_result)
        if damage:
            self.progress.postponed(job, damage)
        else:
            self.progress.finished(job, self._recorded(job))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial that was given up."""
        job = self.jobs[trial.config["key"]]
        lost = Failure("infrastructure", "WorkerDied", f"{job.title}: its worker was lost", "")
        self.progress.finished(job, self._recorded(job) or lost)

    def _recorded(self, job: Job) -> Failure | None:
        record = self.ledger.get(job.key)
        return Failure(**record["error"]) if record and record["status"] == "failed" else None


def _cluster_cards() -> list[Card]:
    """Return the GPUs of all nodes, or [] if a node does not answer: jobs then have a GPU each."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]  # type: ignore[no-untyped-call]
    task: Any = ray.remote(num_cpus=0, max_retries=0)(list_cards)
    places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    asked = [task.options(scheduling_strategy=place).remote() for place in places]
    try:
        return [card for cards in ray.get(asked, timeout=CARDS_TIMEOUT) for card in cards]
    except RayError:
        return []


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()


def _connect(address: str, jobs: int) -> None:
    """Start or join a cluster, quietly and without usage reports.

    Unless RAY_AUTH_MODE is set, Ray authenticates by tokens what is started here, and a cluster is joined by token if
    there is one.
    """
    local: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        _check_reachable(address)
        if not local:
            maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise SgBenchError(f"no Ray cluster at '{address}': {cause}", hint="Use --ray-address local") from error
    token = Path.home() / ".ray" / "auth_token"
    if token.exists():
        token.chmod(0o600)  # Ray leaves the token that it makes readable by everyone
