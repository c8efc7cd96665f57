"""The scheduler's backend on a Ray cluster."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import ray

from sg_bench.config import key_of
from sg_bench.ledger import Ledger
from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe
from sg_bench.running.cluster.cells import run_trials
from sg_bench.running.cluster.connect import Connection
from sg_bench.running.cluster.errors import failure_kind
from sg_bench.running.cluster.nodes import cluster_cards
from sg_bench.running.cluster.options import ClusterOptions
from sg_bench.running.cluster.trainings import on_train, pretrain
from sg_bench.running.environment import single_threaded
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.local import work
from sg_bench.running.memory import measured_mib, memory_settings
from sg_bench.running.packing import card_share, measuring_first
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Unit
from sg_bench.workspace import Workspace


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
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.slots = max(1, int(resources.get("CPU", 1)))
        self.gpu = min(1, int(resources.get("GPU", 0)))
        self.cards = cluster_cards() if self.gpu else []
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
        started = self.task.remote(unit.job, self.workspace.location, unit.cases, unit.share)
        future: Future[Failure | None] = started.future()
        return future

    def failure(self, error: Exception) -> Failure:
        """Describe an error that Ray raised for a task."""
        return Failure.of(error, failure_kind(error))

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.connection.close()

    def _new_run(self, what: str) -> str:
        """Return a unique name: Ray would resume an earlier run of the same name from its own snapshot."""
        return f"{what[:16]}-{uuid.uuid4().hex[:8]}"

    def _pretrain(self, job: Job) -> Failure | None:
        return pretrain(job, self.workspace, name=self._new_run(job.key), resources=self._resources(1.0))

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
        resources = {job.key: self._trial_resources(job) for job in jobs}
        name = self._new_run("cells")
        return run_trials(jobs, self.workspace, progress, name=name, resources=resources, slots=self.slots)

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
