"""Cells as trials of Ray Tune, with reused workers, fed while the run goes on.

Trials of one Tune experiment are taken from a queue as soon as they fit on the cluster. A new experiment is begun after
some hundreds of trials, since Ray keeps all of an experiment in the driver's memory, and whenever something else
needs the devices, since an idle worker of an experiment keeps its share of them.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.tune.search import Searcher

from sg_bench.planning import Job
from sg_bench.running.cluster.occupancy import Demand, Occupancy
from sg_bench.running.cluster.outage import RESUME, LostClusterError
from sg_bench.running.failures import Failure, first_line
from sg_bench.running.local import work
from sg_bench.workspace import Workspace

FAILURE = "failure"
"""Name of a trial's result that holds its cell's failure as JSON, "" if it has none."""
TRIALS = 500
"""Trials of one experiment."""
IDLE_SECONDS = 1.0
"""After so long without a cell an experiment ends, and with it its workers."""


@dataclass(frozen=True)
class QueuedCell:
    """A cell that waits for a worker, or has one."""

    job: Job
    demand: Demand
    future: Future[Failure | None] = field(default_factory=Future)


class CellTrials:
    """Runs cells on Ray Tune.

    Args:
        workspace: of the results.
        occupancy: what is taken of the cluster; cells take their share when they start.
        new_name: returns a unique name for an experiment.
    """

    def __init__(self, workspace: Workspace, occupancy: Occupancy, new_name: Callable[[str], str]) -> None:
        self.workspace, self.occupancy, self.new_name = workspace, occupancy, new_name
        self.queue: deque[QueuedCell] = deque()
        self.current: _Experiment | None = None
        self.threads: list[threading.Thread] = []
        self.closed = False
        self._lock = threading.RLock()

    def submit(self, job: Job, demand: Demand) -> Future[Failure | None]:
        """Put a cell into the queue."""
        cell = QueuedCell(job, demand)
        with self._lock:
            self.queue.append(cell)
            if self.current is None:
                self._begin()
        return cell.future

    def renew(self) -> None:
        """Let the experiment end with the cells that it runs, so that its workers give their devices back."""
        with self._lock:
            self.current = None
            if self.queue:
                self._begin()

    def close(self, seconds: float) -> None:
        """Stop all experiments where they are, waiting at most so long; disconnecting from Ray ends their workers."""
        self.closed = True
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, end - time.monotonic()))

    def next_cell(self, experiment: _Experiment, trial: str) -> dict[str, Any] | str | None:
        """Return the configuration of a new trial, None if there is none yet, or `Searcher.FINISHED`."""
        with self._lock:
            if experiment is self.current and experiment.started == TRIALS:
                self.renew()
            if experiment is not self.current:
                return Searcher.FINISHED
            if not self.queue:
                return self._idle(experiment)
            if not self.occupancy.fits(self.queue[0].demand):
                return None
            cell = self.queue.popleft()
            self.occupancy.take(trial, cell.demand)
            experiment.add(trial, cell)
        return {
            "job": encoded(cell.job),
            "location": self.workspace.location,
            "resources": cell.demand.resources,
        }

    def finish(self, experiment: _Experiment, trial: str, failure: Failure | Exception | None) -> None:
        """Resolve the future of a trial's cell."""
        with self._lock:
            cell = experiment.trials.pop(trial, None)
            experiment.active_at = time.monotonic()
            self.occupancy.release(trial)
        if cell is None or self.closed:
            return
        if isinstance(failure, Exception):
            cell.future.set_exception(failure)
        else:
            cell.future.set_result(failure)

    def _idle(self, experiment: _Experiment) -> str | None:
        if experiment.trials or time.monotonic() - experiment.active_at < IDLE_SECONDS:
            return None
        self.current = None
        return Searcher.FINISHED

    def _begin(self) -> None:
        self.current = _Experiment(self)
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        self.threads.append(threading.Thread(target=self._run, args=(self.current,), daemon=True))
        self.threads[-1].start()

    def _run(self, experiment: _Experiment) -> None:
        """Run an experiment to its end, in a thread of its own: signals are for the main thread."""
        lost: Exception = tune.TuneError("the experiment ended without a result of this cell")
        try:
            _tuner(experiment, self.workspace, self.new_name("cells")).fit()
        except _StoppedError:
            return
        except Exception as error:
            lost = LostClusterError(f"Ray stopped: {first_line(error)}", hint=RESUME)
        with self._lock:
            if isinstance(lost, LostClusterError):
                while self.queue and experiment is self.current:
                    self.queue.popleft().future.set_exception(lost)
            if experiment is self.current:
                self.current = None
        for trial in list(experiment.trials):
            self.finish(experiment, trial, lost)


class _Experiment(Searcher):
    """Gives Tune the cells of the queue, one when it asks for one."""

    def __init__(self, cells: CellTrials) -> None:
        super().__init__()
        self.cells = cells
        self.trials: dict[str, QueuedCell] = {}
        self.started = 0
        self.active_at = time.monotonic()

    def add(self, trial: str, cell: QueuedCell) -> None:
        """Note that a trial starts."""
        self.trials[trial] = cell
        self.started += 1

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # as Tune documents it
        """Return the next cell's configuration, if there is one that fits."""
        return self.cells.next_cell(self, trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note what a trial reported; that of a lost worker comes with its exception, by `_Losses`."""
        if not error:
            text = (result or {}).get(FAILURE)
            lost = tune.TuneError("the trial ended without a result")
            self.cells.finish(self, trial_id, lost if text is None else decoded_failure(text))

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: results are in the workspace."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Experiment:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return str, ("experiment",)  # Tune keeps a copy of its settings in a file that is never read


class _StoppedError(BaseException):
    """Ends an experiment at once; Tune lets it pass, and does not wait for its workers."""


class _Losses(tune.Callback):
    """Passes on why trials were lost, and stops the experiment when the run ends."""

    def __init__(self, experiment: _Experiment) -> None:
        self.experiment = experiment

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stop if the run does."""
        if self.experiment.cells.closed:
            raise _StoppedError

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial that lost its worker, or did not get so far as to compute its cell."""
        self.experiment.cells.finish(self.experiment, trial.trial_id, _loss(trial))


def _loss(trial: Any) -> Exception:
    """Return the exception for which Tune gave a trial up; it keeps that in a file of the driver."""
    path = trial.pickled_error_file
    if path and Path(path).is_file():
        error: Exception = cloudpickle.loads(Path(path).read_bytes())
        return error
    return tune.TuneError("its worker was lost")


def _tuner(experiment: _Experiment, workspace: Workspace, name: str) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(fine_tune_trial, trial_resources),
        tune_config=tune.TuneConfig(
            search_alg=experiment,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(workspace.path("ray")),
            verbose=0,
            callbacks=[_Losses(experiment)],
        ),
    )


def fine_tune_trial(config: dict[str, Any]) -> None:
    """Compute one cell into the ledger; Tune only learns whether it failed."""
    failure = work(decoded(config["job"]), config["location"])
    tune.report({FAILURE: json.dumps(asdict(failure)) if failure else ""})


def trial_resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Return the resources of a trial."""
    return tune.PlacementGroupFactory([config["resources"]])


def encoded(job: Job) -> str:
    """Return a job as text: a trial's configuration is copied and written as JSON by Tune."""
    raw: bytes = cloudpickle.dumps(job)  # type: ignore[no-untyped-call]
    return base64.b85encode(zlib.compress(raw)).decode()


def decoded(text: str) -> Job:
    """Return the job that this run's driver has `encoded`."""
    job: Job = cloudpickle.loads(zlib.decompress(base64.b85decode(text)))
    return job


def decoded_failure(text: str) -> Failure | None:
    """Return the failure that a trial reported, None if it had none."""
    return Failure(**json.loads(text)) if text else None


def _trial_name(trial: Any) -> str:
    return str(trial.trial_id)
