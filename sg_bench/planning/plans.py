"""What a plan holds: jobs and cells, and which of them are still to be computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sg_bench.config import differences
from sg_bench.ledger import Ledger, Record
from sg_bench.suite import Suite
from sg_bench.tasks import Task
from sg_bench.workspace import Workspace

Kind = Literal["store", "initialisation", "patterns", "cell"]
Recipe = dict[str, Any]
ROOMS: dict[Kind, Literal["stores", "initialisations", "patterns"]] = {
    "store": "stores",
    "initialisation": "initialisations",
    "patterns": "patterns",
}
LAST: dict[Kind, str] = {"store": "index.json", "initialisation": "record.json", "patterns": "index.json"}
"""The file that is written last into a result's folder: without it the folder counts for nothing."""


@dataclass(frozen=True)
class Job:
    """One thing to compute: its recipe says what, its key names the result."""

    kind: Kind
    key: str
    recipe: Recipe = field(compare=False)
    needs: tuple[str, ...]
    """Keys of the jobs that must be done before."""
    title: str
    """What progress lines call it."""
    root: Path | None = None
    """Stores: the folder that the source reads."""

    @property
    def workers(self) -> int:
        """Return how many processes share this job."""
        return int(self.recipe["config"]["workers"]) if self.kind == "initialisation" else 1


@dataclass(frozen=True)
class PlannedCell:
    """One (method, pretraining seed, task variant, fine-tuning seed), and whether it can be computed."""

    key: str
    """Empty when `missing`."""
    method: str
    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    missing: str | None = None
    """Why its data are absent."""


@dataclass
class Plan:
    """All that a suite asks for."""

    suite: Suite
    tasks: list[Task]
    cells: list[PlannedCell] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    """By key, each after the jobs that it needs."""
    roots: dict[str, Path] = field(default_factory=dict)
    """Folders of data sets by name."""
    lists: dict[str, list[str]] = field(default_factory=dict)
    """Ids of cases or patients that splits name, by the SHA-256 under which recipes do."""

    def without_paths(self, text: str) -> str:
        """Return `text` with each data set's folder replaced by <its name>: a report must not tell where data lie."""
        for name, root in sorted(self.roots.items(), key=lambda item: -len(str(item[1]))):
            text = text.replace(str(root), f"<{name}>")
        return text

    def with_paths(self, text: str) -> str:
        """Return `text` with the folders named again, for the person at the terminal."""
        for name, root in self.roots.items():
            text = text.replace(f"<{name}>", str(root))
        return text

    def add(self, job: Job) -> Job:
        """Add a job, or return the one already there."""
        return self.jobs.setdefault(job.key, job)

    def of_kind(self, kind: Kind) -> list[Job]:
        """Return the jobs of one kind, in order."""
        return [job for job in self.jobs.values() if job.kind == kind]

    def pending(self, workspace: Workspace, *, retry_failed: bool = False) -> list[Job]:
        """Return the jobs that the missing cells need and the workspace lacks, each after those that it needs.

        A cell that failed by its method's own doing is not missing unless `retry_failed`: the same recipe
        would fail the same way.
        """
        ledger = Ledger(workspace)
        wanted = {cell.key for cell in self.cells if not cell.missing and _lacks(ledger, cell.key, retry_failed)}
        for job in reversed(self.jobs.values()):
            if job.key in wanted:
                wanted.update(key for key in job.needs if not is_built(workspace, self.jobs[key]))
        return [job for job in self.jobs.values() if job.key in wanted]


def is_built(workspace: Workspace, job: Job) -> bool:
    """Return whether the result of a job other than a cell is in the workspace."""
    return job.kind != "cell" and (workspace.path(ROOMS[job.kind], job.key) / LAST[job.kind]).is_file()


def why_missing(job: Job, finished: Iterable[Record]) -> list[str]:
    """Return how `job`'s recipe differs from the most similar finished cell's: "field: theirs -> ours" lines."""
    best: list[str] | None = None
    for record in finished:
        lines = list(islice(differences(record["recipe"], job.recipe), len(best) if best else None))
        best = lines if best is None or len(lines) < len(best) else best
        if len(best) == 1:
            break
    return ["no finished cell to compare with"] if best is None else best


def _lacks(ledger: Ledger, key: str, retry_failed: bool) -> bool:
    record = ledger.get(key)
    if record is None:
        return True
    if record["status"] == "done":
        return False
    return retry_failed or record["error"]["kind"] != "method"
