"""Cells as trials of Ray Tune, with reused workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ray import tune
from ray.exceptions import RayError

from sg_bench.errors import SgBenchError
from sg_bench.ledger import Ledger
from sg_bench.planning import Job
from sg_bench.running.cluster.errors import RESTARTS
from sg_bench.running.failures import Failure
from sg_bench.running.local import work
from sg_bench.running.progress import Progress
from sg_bench.workspace import Workspace

DAMAGE = "damage"
"""Name of a trial's result that holds a failure as JSON if an input of its cell was damaged, else ""."""


def run_trials(
    jobs: Sequence[Job],
    workspace: Workspace,
    progress: Progress,
    *,
    name: str,
    resources: dict[str, dict[str, float]],
    slots: int,
) -> dict[str, Failure]:
    """Run cells as the trials of one Tune experiment; return those with damaged inputs.

    Args:
        jobs: the cells.
        workspace: of the results.
        progress: is notified of starts and ends.
        name: of the experiment, unique.
        resources: of each trial, by its cell's key.
        slots: trials at once.

    Raises:
        SgBenchError: Ray itself stopped, as when the cluster is lost.
    """
    by_key = {job.key: job for job in jobs}
    trial = tune.with_parameters(fine_tune_trial, jobs=by_key, root=workspace.location)
    tuner = tune.Tuner(
        tune.with_resources(trial, resources_of(resources)),
        param_space={"key": tune.grid_search(list(by_key))},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=slots),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(workspace.path("ray")),
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            verbose=0,
            callbacks=[_ProgressCallback(by_key, progress, workspace)],
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


class TransientError(Exception):
    """A failure of the infrastructure during a cell, raised so that Tune restarts the trial."""


def fine_tune_trial(config: dict[str, Any], jobs: dict[str, Job], root: str) -> None:
    """Compute one cell into the ledger; Tune only learns that it ended."""
    job = jobs[config["key"]]
    failure = work(job, root)
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
