"""From a suite to its plan.

Planning reads names and sizes, never an image, and imports nothing heavy: a plan of thousands of cells takes seconds.
A recipe holds the recipes it stands on, so keys chain: one changed setting renames exactly its descendants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sg_bench.config import Preparation, Split, key_of, merged
from sg_bench.data.splits import read_list
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.errors import DataError, UsageError, did_you_mean
from sg_bench.planning.plans import Job, Kind, Plan, PlannedCell, Recipe
from sg_bench.planning.stores import open_source, store_recipe
from sg_bench.registry import METHODS, SOURCES
from sg_bench.suite import Corpus, CorpusKey, MethodChoice, Suite, corpus_task, data_sources, suite_tasks
from sg_bench.tasks import Task, validated
from sg_bench.workspace import Workspace

M = TypeVar("M")
PRINTED = {"title", "follows", "note", "variant", "data"}
"""Fields of a task card that cannot change a number (its data stand in the store's recipe)."""


def plan(suite: Suite, roots: Mapping[str, Path] | None = None, workspace: Workspace | None = None) -> Plan:
    """Return what `suite` asks for, given the folders of its data sets by name.

    Published weights are looked up in `workspace`, by default that of SG_BENCH_HOME or here.

    Raises:
        UsageError: a method, task or setting does not exist or does not fit.
    """
    planner = _Planner(suite, dict(roots or {}), workspace or Workspace.default())
    return planner.plan()


class _Planner:
    def __init__(self, suite: Suite, roots: dict[str, Path], workspace: Workspace) -> None:
        self.suite = suite
        self.roots = roots
        self.workspace = workspace
        self.folder = Path(suite.folder) if suite.folder else None
        self.tasks = suite_tasks(suite)
        self.out = Plan(suite, self.tasks, roots=roots)
        self._stores: dict[str, Job | DataError] = {}

    def plan(self) -> Plan:
        self._check_tasks()
        self._check_roots()
        self._check_overlay()
        targets = {task.label: _attempt(self._target, task) for task in self.tasks}
        for method in self.suite.methods:
            tasks = [
                task
                for task, name in zip(self.tasks, self.suite.tasks, strict=True)
                if self.suite.pairs(method.title, name)
            ]
            dimensions = list(dict.fromkeys(task.dimension for task in tasks))
            given = (method.name, method.config, method.title)
            configs = {d: _attempt(self._config, *given, d) for d in dimensions}
            for seed in self._pretraining_seeds(method):
                made = {d: _attempt(self._initialisation, method, configs[d], seed) for d in dimensions}
                for task in tasks:
                    self._cells(method, seed, made[task.dimension], task.label, targets[task.label])
        return self.out

    def _pretraining_seeds(self, method: MethodChoice) -> list[int]:
        """Return the suite's, or 0 alone for published weights: one file is one pretraining and never several."""
        kind: Any = METHODS.config(method.name)
        return [0] if "weights" in kind.needs else self.suite.pretraining_seeds

    def _cells(
        self,
        method: MethodChoice,
        seed: int,
        initialisation: Job | DataError,
        label: str,
        target: tuple[Task, Job] | DataError,
    ) -> None:
        for fine_tuning_seed in self.suite.fine_tuning_seeds:
            names = (method.title, label, seed, fine_tuning_seed)
            if isinstance(target, DataError) or isinstance(initialisation, DataError):
                absent = target if isinstance(target, DataError) else initialisation
                self.out.cells.append(PlannedCell("", *names, missing=self.out.without_paths(str(absent))))
                continue
            task, store = target
            recipe = {
                "kind": "cell",
                "task": task.model_dump(mode="json", exclude=PRINTED),
                "store": store.recipe,
                "initialisation": initialisation.recipe,
                "pretraining_seed": seed,
                "fine_tuning_seed": fine_tuning_seed,
            }
            title = f"{method.title} on {label}, seeds {seed}/{fine_tuning_seed}"
            job = self._job("cell", recipe, (store.key, initialisation.key), title)
            self.out.cells.append(PlannedCell(job.key, *names))

    def _target(self, task: Task) -> tuple[Task, Job]:
        """Return a task whose split names its lists by content, and the job that makes its store."""
        return task.model_copy(update={"split": self._resolved(task.split)}), self._task_store(task)

    def _resolved(self, split: Split) -> Split:
        """Return `split` with the SHA-256 of each list in place of its file, and of the other data set's ids.

        Raises:
            DataError: a list cannot be read, or the other data set is absent.
        """
        lists = {
            part: self._remembered(read_list((self.folder or Path()) / path)) for part, path in split.lists.items()
        }
        outside = split.outside
        if outside:
            where = f"config of source '{outside.source}'"
            settings = validated(SOURCES.config(outside.source), outside.config, where)
            source = open_source(outside.source, settings, self.roots.get(outside.data), outside.data)
            cases = [case for case in source.scan() if not outside.groups or case.group in outside.groups]
            known = self._remembered([name for case in cases for name in (case.id, case.patient)])
            outside = outside.model_copy(update={"ids": known})
        return split.model_copy(update={"lists": lists, "outside": outside})

    def _remembered(self, ids: Iterable[str]) -> str:
        names = sorted(set(ids))
        self.out.lists[key_of(names)] = names
        return key_of(names)

    def _initialisation(self, method: MethodChoice, config: Any, seed: int) -> Job:
        if isinstance(config, DataError):
            raise config
        if "weights" in config.needs:
            config = config.located(self.workspace)
        corpus, needs = None, []
        patterns = None
        if "corpus" in config.needs:
            store, corpus = self._corpus(config.dimension)
            needs.append(store.key)
        if "patterns" in config.needs:
            discovered = self._patterns(config.dimension, method.discovery)
            patterns = discovered.recipe
            needs.append(discovered.key)
        title = f"{method.title}{' in 2D' if config.dimension == 2 else ''}, seed {seed}"
        return self._pretraining(method.name, config, corpus, patterns, seed, tuple(needs), title)

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

    def _patterns(self, dimension: int, own: Mapping[str, Any]) -> Job:
        store, corpus = self._corpus(dimension)
        feeding = self._feeding(dimension)
        told = merged(self.suite.discovery, feeding.discovery, dict(own), {"dimension": dimension})
        settings = validated(DiscoverySettings, told, "discovery of the suite")
        encoding = merged(self.suite.autoencoder, feeding.autoencoder)
        config = self._config("autoencoder", encoding, "autoencoder", dimension)
        title = f"auto-encoder of discovery{' in 2D' if dimension == 2 else ''}"
        encoder = self._pretraining("autoencoder", config, corpus, None, settings.seed, (store.key,), title)
        recipe = {
            "kind": "patterns",
            "settings": settings.model_dump(mode="json"),
            "corpus": corpus,
            "autoencoder": encoder.recipe,
        }
        title = f"discover patterns{' in 2D' if dimension == 2 else ''}"
        return self._job("patterns", recipe, (store.key, encoder.key), title)

    def _feeding(self, dimension: int) -> Corpus:
        """Return the corpus of 2D or of 3D networks."""
        name: CorpusKey = "2d" if dimension == 2 else "3d"
        if name not in self.suite.corpora:
            raise UsageError(f"the suite names no {name} corpus", hint=f"Add `corpora: {{{name}: {{...}}}}`")
        return self.suite.corpora[name]

    def _corpus(self, dimension: int) -> tuple[Job, Recipe]:
        corpus = self._feeding(dimension)
        part: Recipe | None = None
        if corpus.task:
            task, store = self._target(corpus_task(self.suite, corpus))
            if task.split.folds:
                raise UsageError(
                    f"task '{task.label}' tests on other patients for each seed, so it cannot be a corpus",
                    hint="Choose a split without folds",
                )
            part = {"split": task.split.model_dump(mode="json"), "of": "train"}
        else:
            store = self._store(corpus.name, corpus.source, corpus.config, corpus.preparation)
        split = self._resolved(corpus.split) if corpus.split else None
        split = split or Split(seed=corpus.seed, train=1 - corpus.validation, validation=corpus.validation)
        recipe = {"store": store.recipe, "part": part, "split": split.model_dump(mode="json")}
        return store, recipe

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

    def _config(self, name: str, own: Mapping[str, Any], title: str, dimension: int) -> Any:
        """Return a method's config: its defaults, what suite and corpus say of all, what is said of this one."""
        model: Any = METHODS.config(name)
        if dimension not in model.dimensions:
            raise DataError(f"{name} has no {dimension}D version", hint="Leave it out of these tasks")
        unused = {"training", "workers"} if not model.needs - {"weights"} else set()
        known = model.model_fields.keys() - unused
        corpus = self.suite.corpora.get("2d" if dimension == 2 else "3d")
        said = merged(self.suite.pretraining, corpus.pretraining if corpus else {})
        shared = {key: value for key, value in said.items() if key in known}
        fixed = {"width": self.suite.width, "dimension": dimension}
        return validated(model, merged(shared, fixed, dict(own)), f"config of method '{title}'")

    @cached_property
    def _settings(self) -> set[str]:
        """All settings that some method has."""
        return {key for name in METHODS.names() for key in METHODS.config(name).model_fields}

    def _check_overlay(self) -> None:
        places = {"pretraining": self.suite.pretraining}
        places |= {f"corpora.{name}.pretraining": corpus.pretraining for name, corpus in self.suite.corpora.items()}
        for place, settings in places.items():
            for key in settings:
                if key in ("width", "dimension"):
                    hint = "Write `width: 8` beside it" if key == "width" else "Leave it out: each task says its own"
                    raise UsageError(f"{place}: the {key} is not a method's to choose", hint=hint)
                if key not in self._settings:
                    raise UsageError(
                        f"{place}: no method has a setting '{key}'", hint=did_you_mean(key, self._settings)
                    )

    def _check_tasks(self) -> None:
        from sg_bench.evaluation.metrics import METRICS

        labels = [task.label for task in self.tasks]
        for task in self.tasks:
            if labels.count(task.label) > 1:
                hint = "Remove one, give its card another `name`, or choose a variant such as name[steps=80]"
                raise UsageError(f"the suite has two tasks '{task.label}'", hint=hint)
            metrics = [metric.name for metric in METRICS.values() if metric.kind == task.kind]
            roles = [
                ("headline", task.headline),
                ("parity", task.parity),
                *(("secondary", each) for each in task.secondary),
            ]
            for role, metric in roles:
                if metric is not None and metric not in metrics:
                    hint = did_you_mean(metric, metrics)
                    raise UsageError(f"task '{task.label}': '{role}' = '{metric}' is no {task.kind} metric", hint=hint)

    def _check_roots(self) -> None:
        sources = data_sources(self.suite)
        for name in self.roots:
            if name not in sources:
                hint = did_you_mean(name, sources)
                raise UsageError(f"--data {name}=...: the suite has no data of that name", hint=hint)
            if not SOURCES.load(sources[name]).needs_root:
                what = f"--data {name}=...: its source '{sources[name]}' reads no folder"
                raise UsageError(what, hint="Leave the option out")


def _attempt(make: Callable[..., M], *arguments: Any) -> M | DataError:
    """Return what is made, or the error that makes its cells `missing` while the rest of the suite runs."""
    try:
        return make(*arguments)
    except DataError as error:
        return error
