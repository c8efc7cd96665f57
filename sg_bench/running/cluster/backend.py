"""The scheduler's backend on a Ray cluster."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import LocalRayletDiedError, RayTaskError

from sg_bench.config import key_of
from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe
from sg_bench.running.cluster.cells import CellTrials
from sg_bench.running.cluster.connect import Connection
from sg_bench.running.cluster.errors import failure_kind
from sg_bench.running.cluster.nodes import cluster_cards
from sg_bench.running.cluster.occupancy import Demand, Occupancy
from sg_bench.running.cluster.options import ClusterOptions
from sg_bench.running.cluster.outage import RESUME, LostClusterError, ended_server
from sg_bench.running.cluster.trainings import on_train, pretrain
from sg_bench.running.environment import single_threaded
from sg_bench.running.failures import Failure, first_line
from sg_bench.running.local import work
from sg_bench.running.memory import measured_mib, memory_settings
from sg_bench.running.packing import Card, card_share
from sg_bench.running.schedule import Unit
from sg_bench.workspace import Workspace

AHEAD = 2
"""Cells that are queued though they do not fit yet, so that a worker that ends one finds the next."""
INTERRUPT_SECONDS = 0.5
"""To wait at most for the experiments of cells to stop when the run is interrupted."""
STOP_SECONDS = 10.0
"""The same at the end of a run: each looks ten times a second whether it should stop, and ends its workers."""
REFRESH_SECONDS = 5.0
"""How long the size of the cluster and measured memory are taken for what they were."""


class RayBackend:
    """Runs units on a Ray cluster.

    Args:
        workspace: on storage that every node sees under the same path.
        address: "local" starts a cluster here, "auto" or HOST:PORT joins one.
        jobs: processors that were asked for; None takes what the machine or cluster has.
        workers: of the largest pretraining.
        wait: seconds to wait for nodes, as in `ClusterOptions`.
        ship_code: send this machine's code to the nodes.
        log: prints one line.

    Raises:
        UsageError: the cluster has less than is asked, or its nodes differ from this one.
        SgBenchError: the cluster cannot be reached.
    """

    one_machine = False

    def __init__(
        self,
        workspace: Workspace,
        address: str,
        jobs: int | None = None,
        *,
        workers: int = 1,
        wait: float | None = None,
        ship_code: bool = False,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.workspace = workspace
        self.connection = Connection(
            workspace, ClusterOptions(address, wait, ship_code), jobs=jobs, workers=workers, log=log
        )
        try:
            self.occupancy = Occupancy(*_size())
            self.slots = max(1, int(self.occupancy.cpus))
            self.memory = CardMemory(workspace, cluster_cards() if self.occupancy.gpus else [], self.slots)
        except BaseException:
            self.connection.close()
            raise
        self.cells = CellTrials(workspace, self.occupancy, _new_run)
        self.refreshed_at = time.monotonic()
        # Only trainings use a GPU; a task that asks Ray for none would see them all.
        environment = {"env_vars": {**single_threaded(), "CUDA_VISIBLE_DEVICES": ""}}
        # The scheduler retries, so Ray does not: max_retries=0.
        self.task: Any = ray.remote(num_cpus=1, max_retries=0, runtime_env=environment)(work)

    def fits(self, unit: Unit, running: Collection[Unit]) -> bool:
        """Return whether one more unit fits, or a cell can be queued for a worker that is about to end.

        A cell whose memory is being measured by another of its kind waits for that.
        """
        if not running:
            return True
        self._refresh()
        kind = self.memory.unmeasured(unit.job)
        if kind and any(self.memory.unmeasured(other.job) == kind for other in running):
            return False
        queued = [cell.demand for cell in self.cells.queue]
        ahead = unit.job.kind == "cell" and len(queued) < AHEAD
        return ahead or self.occupancy.fits(self._demand(unit.job), queued)

    def submit(self, unit: Unit) -> Future[Failure | None]:
        """Start a unit: a pretraining on Ray Train, a cell on Ray Tune, anything else as a task."""
        demand = self._demand(unit.job)
        if unit.job.kind == "cell":
            return self.cells.submit(unit.job, demand)
        self.occupancy.take(unit.name, demand)
        if on_train(unit.job):
            self.cells.renew()
            future = _in_thread(self._pretrain, unit.job)
        else:
            future = self.task.remote(unit.job, self.workspace.location, unit.cases, unit.share).future()
        future.add_done_callback(lambda _: self.occupancy.release(unit.name))
        return future

    def failure(self, error: Exception) -> Failure:
        """Describe an error that Ray raised.

        Raises:
            LostClusterError: Ray itself has stopped.
        """
        if isinstance(error, LostClusterError):
            raise error
        if isinstance(error, LocalRayletDiedError):
            raise LostClusterError(f"Ray stopped: {first_line(error)}", hint=RESUME) from error
        failure = Failure.of(error, failure_kind(error))
        lines = failure.message.strip().splitlines() or [failure.type]
        return replace(failure, message=lines[-1] if isinstance(error, RayTaskError) else lines[0])

    def close(self, *, at_once: bool = False) -> None:
        """Leave the cluster, once; one that was started here ends, `at_once` without asking Ray."""
        if self.cells.closed:
            return
        self.cells.close(INTERRUPT_SECONDS if at_once else STOP_SECONDS)
        self.connection.close(at_once=at_once)

    def _pretrain(self, job: Job) -> Failure | None:
        resources = Demand(1.0, 1.0 if self.occupancy.gpus else 0.0).resources
        return pretrain(job, self.workspace, name=_new_run(job.key), resources=resources)

    def _demand(self, job: Job) -> Demand:
        """Return what a job needs: a processor for each worker, or a GPU; of a GPU a cell takes what it needs."""
        if on_train(job):
            return Demand(job.workers, job.workers if self.occupancy.gpus else 0.0)
        if job.kind == "cell" and self.occupancy.gpus:
            return Demand(gpus=self.memory.share(job))
        return Demand(1.0)

    def _refresh(self) -> None:
        """Look at the size of the cluster, which may change.

        Raises:
            LostClusterError: it does not answer.
        """
        if time.monotonic() - self.refreshed_at > REFRESH_SECONDS:
            self.refreshed_at = time.monotonic()
            if self.connection.local and (problem := ended_server()):
                raise LostClusterError(problem, hint=RESUME)
            try:
                self.occupancy.cpus, self.occupancy.gpus = _size()
            except Exception as error:
                raise LostClusterError(f"Ray stopped: {first_line(error)}", hint=RESUME) from error


class CardMemory:
    """What cells need of the GPUs of a cluster, by the measured memory of their kind.

    Args:
        workspace: holds the measurements.
        cards: the GPUs; none if there are none, or if a node did not list them: a cell then has a GPU to itself.
        cores: processor cores of the cluster.
    """

    def __init__(self, workspace: Workspace, cards: list[Card], cores: int) -> None:
        self.workspace, self.cards = workspace, cards
        self.cores_a_card = max(1, cores // max(1, len(cards)))
        self._kinds: dict[str, str] = {}
        self._peaks: dict[str, tuple[float, float | None]] = {}

    def share(self, job: Job) -> float:
        """Return the fraction of a GPU for a cell, by the smallest card of the cluster."""
        if not self.cards:
            return 1.0
        smallest = min(card.free_mib for card in self.cards)
        return card_share(self._peak(job), smallest, self.cores_a_card)

    def unmeasured(self, job: Job) -> str | None:
        """Return a name for what decides a cell's memory if it must be measured, else None."""
        if not self.cards or not isinstance(job.recipe, CellRecipe) or self._peak(job) is not None:
            return None
        return self._kind(job)

    def _peak(self, job: Job) -> float | None:
        """Return a job's peak memory in MiB, the largest of its measurements on the cards of this cluster."""
        kind, now = self._kind(job), time.monotonic()
        read_at, peak = self._peaks.get(kind, (-REFRESH_SECONDS, None))
        if now - read_at >= REFRESH_SECONDS:
            found = [measured_mib(self.workspace, name, job.recipe) for name in {card.name for card in self.cards}]
            peak = max((each for each in found if each is not None), default=None)
            self._peaks[kind] = now, peak
        return peak

    def _kind(self, job: Job) -> str:
        if job.key not in self._kinds:
            assert isinstance(job.recipe, CellRecipe)
            self._kinds[job.key] = key_of(memory_settings(job.recipe))
        return self._kinds[job.key]


def _new_run(what: str) -> str:
    """Return a unique name: Ray would resume an earlier run of the same name from its own snapshot."""
    return f"{what[:16]}-{uuid.uuid4().hex[:8]}"


def _size() -> tuple[float, float]:
    """Return the processors and GPUs of the cluster."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("CPU", 1.0), resources.get("GPU", 0.0)


def _in_thread(run: Any, job: Job) -> Future[Failure | None]:
    """Return the result of `run(job)`, computed in a thread that does not keep this process alive."""
    future: Future[Failure | None] = Future()

    def compute() -> None:
        try:
            future.set_result(run(job))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=compute, daemon=True).start()
    return future
