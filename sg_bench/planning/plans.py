"""A plan: jobs and cells, and which of them are still to be computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal, TypeGuard, TypeVar, cast, overload

from sg_bench.config import differences
from sg_bench.ledger import Ledger, Record
from sg_bench.ledger.copies import pull_records
from sg_bench.recipes import CellRecipe, DiscoveryRecipe, PretrainingRecipe, Recipe, RecipeKind, StoreRecipe
from sg_bench.suite import Suite
from sg_bench.tasks import Task
from sg_bench.workspace import Workspace, in_parallel

R = TypeVar("R", bound=Recipe, covariant=True)
FOLDERS: dict[RecipeKind, Literal["stores", "initialisations", "patterns"]] = {
    "store": "stores",
    "initialisation": "initialisations",
    "patterns": "patterns",
}
STAGES: dict[RecipeKind, str] = {
    "store": "prepare",
    "patterns": "discover",
    "initialisation": "pretrain",
    "cell": "fine-tune",
}
"""What computes each kind of result, in the order of the stages."""
LAST: dict[RecipeKind, str] = {"store": "index.json", "initialisation": "record.json", "patterns": "index.json"}
"""The file that is written last into a result's folder: a folder without it is incomplete."""


@dataclass(frozen=True)
class TypedJob(Generic[R]):
    """One result to compute: its recipe, and the jobs that must be done before."""

    recipe: R = field(compare=False)
    needs: tuple[str, ...]
    """Keys of the jobs that must be done before."""
    title: str
    """Name in progress lines."""
    root: Path | None = None
    """Stores: the folder that the source reads."""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.recipe.key)

    @property
    def kind(self) -> RecipeKind:
        """Return the kind of result."""
        return self.recipe.kind

    @property
    def workers(self) -> int:
        """Return how many processes share this job."""
        return self.recipe.config.workers if isinstance(self.recipe, PretrainingRecipe) else 1


Job = TypedJob[Recipe]


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
    """The jobs and cells of a suite."""

    suite: Suite
    tasks: list[Task]
    cells: list[PlannedCell] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    """By key, each after the jobs that it needs."""
    roots: dict[str, Path] = field(default_factory=dict)
    """Folders of data sets by name."""
    lists: dict[str, list[str]] = field(default_factory=dict)
    """Ids of cases or patients that splits name, by their SHA-256, which recipes hold."""
    warnings: list[str] = field(default_factory=list)
    """What is wrong or has no effect, but stops nothing, one line each."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """By the key of a store, why files or rows of its data set are in no case."""

    def without_paths(self, text: str) -> str:
        """Return `text` with each data set's folder replaced by <its name>: a report must not disclose local paths."""
        for name, root in sorted(self.roots.items(), key=lambda item: -len(str(item[1]))):
            text = text.replace(str(root), f"<{name}>")
        return text

    def with_paths(self, text: str) -> str:
        """Return `text` with each <name> replaced by the folder, for the terminal."""
        for name, root in self.roots.items():
            text = text.replace(f"<{name}>", str(root))
        return text

    def warn(self, what: str, lines: Iterable[str]) -> None:
        """Add warnings of a task or corpus, each once."""
        self.warnings += [text for line in lines if (text := f"{what}: {line}") not in self.warnings]

    def add(self, job: TypedJob[R]) -> TypedJob[R]:
        """Add a job, or return the one of the same key."""
        return cast(TypedJob[R], self.jobs.setdefault(job.key, job))

    @overload
    def of_kind(self, kind: Literal["store"]) -> list[TypedJob[StoreRecipe]]: ...
    @overload
    def of_kind(self, kind: Literal["initialisation"]) -> list[TypedJob[PretrainingRecipe]]: ...
    @overload
    def of_kind(self, kind: Literal["patterns"]) -> list[TypedJob[DiscoveryRecipe]]: ...
    @overload
    def of_kind(self, kind: Literal["cell"]) -> list[TypedJob[CellRecipe]]: ...
    def of_kind(self, kind: RecipeKind) -> Any:
        """Return the jobs of one kind, in order."""
        return [job for job in self.jobs.values() if job.kind == kind]

    def pending(self, workspace: Workspace, *, retry_failed: bool = False, damaged: Collection[str] = ()) -> list[Job]:
        """Return the jobs that the missing cells need and the workspace lacks, each after those that it needs.

        A cell whose method failed is missing only if `retry_failed`: the same recipe would fail the same way. The
        results `damaged` are wanted too, if the workspace lacks them.
        """
        refresh(self, workspace)
        ledger = Ledger(workspace)
        wanted = {cell.key for cell in self.cells if not cell.missing and _lacks(ledger, cell.key, retry_failed)}
        wanted |= {key for key in damaged if key in self.jobs and not is_built(workspace, self.jobs[key])}
        for job in reversed(self.jobs.values()):
            if job.key in wanted:
                wanted.update(key for key in job.needs if not is_built(workspace, self.jobs[key]))
        return [job for job in self.jobs.values() if job.key in wanted]


def refresh(plan: Plan, workspace: Workspace) -> None:
    """Bring to this node what planning and reporting read of results that are kept elsewhere: records and indices."""
    if workspace.remote is None:
        return
    pull_records(workspace)
    remote = workspace.remote
    results = [(FOLDERS[job.kind], job.key, LAST[job.kind]) for job in plan.jobs.values() if job.kind != "cell"]
    in_parallel(lambda result: remote.fetch_file(*result), [each for each in results if remote.has(*each[:2])])


def prepares_store(job: Job) -> TypeGuard[TypedJob[StoreRecipe]]:
    """Return whether a job prepares a store."""
    return job.kind == "store"


def is_built(workspace: Workspace, result: Job | Recipe) -> bool:
    """Return whether the result of a job or recipe other than a cell is in the workspace."""
    kind = result.kind
    if kind == "cell":
        return False
    if workspace.remote:
        return workspace.remote.has(FOLDERS[kind], result.key)
    return (workspace.path(FOLDERS[kind], result.key) / LAST[kind]).is_file()


def why_missing(job: Job, finished: Iterable[Record]) -> list[str]:
    """Return how `job` differs from the most similar finished cell: "field: old -> new" lines."""
    best: list[str] | None = None
    wanted = job.recipe.key_content()
    for record in finished:
        lines = list(islice(differences(record["recipe"], wanted), len(best) if best else None))
        best = lines if best is None or len(lines) < len(best) else best
        if len(best) == 1:
            break
    return ["no finished cell to compare with"] if best is None else best


def _lacks(ledger: Ledger, key: str, retry_failed: bool) -> bool:
    record = ledger.get(key)
    if record is None:
        return not ledger.newer(key)
    if record["status"] == "done":
        return False
    return retry_failed or record["error"]["kind"] != "method"
