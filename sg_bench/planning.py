"""Suite -> stores, discoveries, pretrainings, cells; their keys; what is missing and why.

Planning reads names and sizes, never an image, and imports nothing heavy: a plan of thousands of cells takes seconds.
A recipe holds the recipes it stands on, so keys chain: one changed setting renames exactly its descendants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sg_bench.data.sources.base import Source
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.errors import DataError, UsageError, did_you_mean
from sg_bench.ledger import Ledger, Record
from sg_bench.recipes import Preparation, Split, differences, key_of, merged
from sg_bench.registry import METHODS, SOURCES
from sg_bench.resources import task_cards
from sg_bench.suite import Corpus, MethodChoice, Suite
from sg_bench.tasks import Task, is_path, parse_reference, read_task, validated
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
PRINTED = {"title", "follows", "note", "variant", "data"}
"""Fields of a task card that cannot change a number (its data stand in the store's recipe)."""


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


def plan(suite: Suite, roots: Mapping[str, Path] | None = None) -> Plan:
    """Return what `suite` asks for, given the folders of its data sets by name.

    Raises:
        UsageError: a method, task or setting does not exist or does not fit.
    """
    planner = _Planner(suite, dict(roots or {}))
    return planner.plan()


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


class _Planner:
    def __init__(self, suite: Suite, roots: dict[str, Path]) -> None:
        self.suite = suite
        self.roots = roots
        self.folder = Path(suite.folder) if suite.folder else None
        self.tasks = [_tuned(reference, self.folder, suite.fine_tuning) for reference in suite.tasks]
        self.out = Plan(suite, self.tasks, roots=roots)
        self._stores: dict[str, Job | DataError] = {}

    def plan(self) -> Plan:
        self._check_tasks()
        self._check_roots()
        self._check_overlay()
        tasks = {task.label: _attempt(self._task_store, task) for task in self.tasks}
        for method in self.suite.methods:
            config = self._config(method.name, method.config, method.title)
            for seed in self.suite.pretraining_seeds:
                initialisation = _attempt(self._initialisation, method, config, seed)
                for task in self.tasks:
                    self._cells(method, seed, initialisation, task, tasks[task.label])
        return self.out

    def _cells(
        self, method: MethodChoice, seed: int, initialisation: Job | DataError, task: Task, store: Job | DataError
    ) -> None:
        for fine_tuning_seed in self.suite.fine_tuning_seeds:
            names = (method.title, task.label, seed, fine_tuning_seed)
            absent = next((part for part in (store, initialisation) if isinstance(part, DataError)), None)
            if isinstance(store, DataError) or isinstance(initialisation, DataError):
                self.out.cells.append(PlannedCell("", *names, missing=self.out.without_paths(str(absent))))
                continue
            recipe = {
                "kind": "cell",
                "task": task.model_dump(mode="json", exclude=PRINTED),
                "store": store.recipe,
                "initialisation": initialisation.recipe,
                "pretraining_seed": seed,
                "fine_tuning_seed": fine_tuning_seed,
            }
            title = f"{method.title} on {task.label}, seeds {seed}/{fine_tuning_seed}"
            job = self._job("cell", recipe, (store.key, initialisation.key), title)
            self.out.cells.append(PlannedCell(job.key, *names))

    def _initialisation(self, method: MethodChoice, config: Any, seed: int) -> Job:
        corpus, needs = None, []
        patterns = None
        if "corpus" in config.needs:
            store, corpus = self._corpus()
            needs.append(store.key)
        if "patterns" in config.needs:
            discovered = self._patterns()
            patterns = discovered.recipe
            needs.append(discovered.key)
        return self._pretraining(
            method.name, config, corpus, patterns, seed, tuple(needs), f"{method.title}, seed {seed}"
        )

    def _pretraining(
        self,
        name: str,
        config: Any,
        corpus: Recipe | None,
        patterns: Recipe | None,
        seed: int,
        needs: tuple[str, ...],
        title: str,
    ) -> Job:
        recipe = {
            "kind": "initialisation",
            "method": name,
            "config": config.model_dump(mode="json"),
            "corpus": corpus,
            "patterns": patterns,
            "seed": seed,
        }
        if config.workers > 1 and self.suite.backend != "ray":
            raise UsageError(
                f"'{name}' asks for {config.workers} workers, which the local backend cannot give",
                hint="Use --set backend=ray, or --set pretraining.workers=1",
            )
        return self._job("initialisation", recipe, needs, f"pretrain {title}")

    def _patterns(self) -> Job:
        store, corpus = self._corpus()
        settings = validated(DiscoverySettings, self.suite.discovery, "discovery of the suite")
        config = self._config("autoencoder", self.suite.autoencoder, "autoencoder")
        encoder = self._pretraining(
            "autoencoder", config, corpus, None, settings.seed, (store.key,), "auto-encoder of discovery"
        )
        recipe = {
            "kind": "patterns",
            "settings": settings.model_dump(mode="json"),
            "corpus": corpus,
            "autoencoder": encoder.recipe,
        }
        return self._job("patterns", recipe, (store.key, encoder.key), "discover patterns")

    def _corpus(self) -> tuple[Job, Recipe]:
        if "3d" not in self.suite.corpora:
            raise UsageError("the suite names no 3d corpus", hint="Add `corpora: {3d: {...}}`")
        corpus = self.suite.corpora["3d"]
        part: Recipe | None = None
        if corpus.task:
            task = self._corpus_task(corpus)
            store = self._task_store(task)
            part = {"split": task.split.model_dump(mode="json"), "of": "train"}
        else:
            store = self._store(corpus.name, corpus.source, corpus.config, corpus.preparation)
        recipe = {"store": store.recipe, "part": part, "validation": corpus.validation, "seed": corpus.seed}
        return store, recipe

    def _corpus_task(self, corpus: Corpus) -> Task:
        """Return the suite's task of that label or name, else the built-in card."""
        by_name = {task.name: task for task in reversed(self.tasks)}
        known = by_name | {task.label: task for task in self.tasks}
        if corpus.task in known:
            return known[corpus.task]
        if is_path(parse_reference(corpus.task)[0]) or parse_reference(corpus.task)[0] in task_cards():
            return read_task(corpus.task, self.folder)
        hint = did_you_mean(corpus.task, {*known, *task_cards()})
        raise UsageError(f"corpus of task '{corpus.task}': the suite has no such task", hint=hint)

    def _task_store(self, task: Task) -> Job:
        return self._store(task.data.name, task.data.source, task.data.config, task.preparation)

    def _store(self, name: str, source_name: str, config: Mapping[str, Any], preparation: Preparation) -> Job:
        settings = validated(SOURCES.config(source_name), dict(config), f"config of source '{source_name}'")
        identity = key_of([name, source_name, settings, preparation])
        if identity not in self._stores:
            self._stores[identity] = _attempt(self._new_store, name, source_name, settings, preparation)
        found = self._stores[identity]
        if isinstance(found, DataError):
            raise found
        return found

    def _new_store(self, name: str, source_name: str, settings: Any, preparation: Preparation) -> Job:
        source = open_source(source_name, settings, self.roots.get(name), name)
        return self._job("store", store_recipe(source_name, source, preparation), (), f"prepare {name}", source.root)

    def _job(self, kind: Kind, recipe: Recipe, needs: tuple[str, ...], title: str, root: Path | None = None) -> Job:
        return self.out.add(Job(kind, key_of(recipe), recipe, needs, title, root))

    def _config(self, name: str, own: Mapping[str, Any], title: str) -> Any:
        """Return a method's config: its defaults, what the suite says of all methods, what it says of this one."""
        model: Any = METHODS.config(name)
        unused = {"training", "workers"} if not model.needs else set()
        known = model.model_fields.keys() - unused
        shared = {key: value for key, value in self.suite.pretraining.items() if key in known}
        overlay = merged(shared, {"width": self.suite.width}, dict(own))
        return validated(model, overlay, f"config of method '{title}'")

    def _check_overlay(self) -> None:
        known = {key for name in METHODS.names() for key in METHODS.config(name).model_fields} - {"width"}
        for key in self.suite.pretraining:
            if key == "width":
                raise UsageError("pretraining: the width is the suite's own setting", hint="Write `width: 8` beside it")
            if key not in known:
                raise UsageError(f"pretraining: no method has a setting '{key}'", hint=did_you_mean(key, known))

    def _check_tasks(self) -> None:
        from sg_bench.evaluation.metrics import METRICS

        labels = [task.label for task in self.tasks]
        for task in self.tasks:
            if labels.count(task.label) > 1:
                hint = "Remove one, give its card another `name`, or choose a variant such as name[steps=80]"
                raise UsageError(f"the suite has two tasks '{task.label}'", hint=hint)
            metrics = [metric.name for metric in METRICS.values() if metric.kind == task.kind]
            for role, metric in (("headline", task.headline), ("parity", task.parity)):
                if metric is not None and metric not in metrics:
                    hint = did_you_mean(metric, metrics)
                    raise UsageError(f"task '{task.label}': '{role}' = '{metric}' is no {task.kind} metric", hint=hint)

    def _check_roots(self) -> None:
        data = [task.data for task in self.tasks]
        data += [self._corpus_task(corpus).data for corpus in self.suite.corpora.values() if corpus.task]
        sources = {each.name: each.source for each in data}
        sources |= {corpus.name: corpus.source for corpus in self.suite.corpora.values() if corpus.source}
        for name in self.roots:
            if name not in sources:
                hint = did_you_mean(name, sources)
                raise UsageError(f"--data {name}=...: the suite has no data of that name", hint=hint)
            if not SOURCES.load(sources[name]).needs_root:
                what = f"--data {name}=...: its source '{sources[name]}' reads no folder"
                raise UsageError(what, hint="Leave the option out")


def _tuned(reference: str, folder: Path | None, fine_tuning: Mapping[str, Any]) -> Task:
    """Return a task with the suite's settings laid over its card's training, and its own `steps` over those."""
    task = read_task(reference, folder)
    chosen = {key: value for key, value in parse_reference(reference)[1].items() if key == "steps"}
    training = merged(task.training.model_dump(), dict(fine_tuning), chosen)
    return validated(Task, task.model_dump() | {"training": training}, f"fine_tuning of the suite, task '{task.label}'")


def open_source(name: str, config: Any, root: Path | None, data_name: str) -> Source:
    """Return a source on its folder.

    Raises:
        DataError: it needs a folder, and none was given or it does not exist.
    """
    cls = SOURCES.load(name)
    if cls.needs_root and root is None:
        raise DataError(f"no folder given for the data '{data_name}'", hint=f"Add --data {data_name}=PATH")
    if cls.needs_root and root is not None and not root.is_dir():
        raise DataError(f"{root}: no such folder for the data '{data_name}'", hint=f"Correct --data {data_name}=PATH")
    source: Source = cls(config, root if cls.needs_root else None)
    return source


def store_recipe(source_name: str, source: Source, preparation: Preparation) -> Recipe:
    """Return the recipe of a store: which cases of which source, prepared how."""
    manifest = source.manifest()
    return {
        "kind": "store",
        "source": source_name,
        "config": source.config.model_dump(mode="json"),
        "manifest": {"cases": len(manifest["cases"]), "sha256": key_of(manifest)},
        "preparation": preparation.model_dump(mode="json"),
    }


def corpus_parts(recipe: Recipe) -> tuple[Split | None, Split]:
    """Return the split that a corpus is the training part of, or None, and its own training-validation split."""
    part = recipe["part"]
    outer = Split.model_validate(part["split"]) if part else None
    share = recipe["validation"]
    return outer, Split(seed=recipe["seed"], train=1 - share, validation=share, test=0)


def _attempt(make: Any, *arguments: Any) -> Job | DataError:
    """Return the job, or the error that makes its cells `missing` while the rest of the suite runs."""
    try:
        job: Job = make(*arguments)
    except DataError as error:
        return error
    return job


def _lacks(ledger: Ledger, key: str, retry_failed: bool) -> bool:
    record = ledger.get(key)
    if record is None:
        return True
    if record["status"] == "done":
        return False
    return retry_failed or record["error"]["kind"] != "method"
