"""Planning: from a suite to its jobs and cells.

Planning reads names and sizes, never an image, and imports nothing heavy: a plan of thousands of cells takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sg_bench.config import CropRule, Preparation, SpatialDims, Split, key_of, merged
from sg_bench.data.sources.base import Source
from sg_bench.data.splits import assign, read_list
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.errors import DataError, UsageError
from sg_bench.methods.configs import MethodConfig
from sg_bench.methods.published_config import CheckpointConfig, PublishedConfig
from sg_bench.networks.configs import NetworkChoice
from sg_bench.planning.checks import (
    check_crops,
    check_label_values,
    check_lists,
    check_parts,
    settings_without_effect,
)
from sg_bench.planning.networks import (
    check_network,
    check_one_channel,
    check_own_settings,
    check_size,
    chosen_network,
    for_channels,
    network_settings,
)
from sg_bench.planning.plans import Plan, PlannedCell, TypedJob
from sg_bench.planning.settings import check_count, check_overlay, check_roots, check_tasks
from sg_bench.planning.stores import open_source, store_recipe
from sg_bench.recipes import CellRecipe, CorpusPart, CorpusRecipe, DiscoveryRecipe, PretrainingRecipe, StoreRecipe
from sg_bench.registry import AUTOENCODER, METHODS, NETWORKS, SOURCES, PluginCode
from sg_bench.suite import (
    Corpus,
    CorpusKey,
    MethodChoice,
    NetworkSetting,
    Suite,
    corpus_task,
    load_suite,
    suite_tasks,
)
from sg_bench.tasks import Task, validated
from sg_bench.workspace import Workspace

T = TypeVar("T")


def plan(
    suite: Suite | Path | str,
    roots: Mapping[str, Path | str] | None = None,
    workspace: Workspace | Path | str | None = None,
) -> Plan:
    """Return the plan of a suite, given the folders of its data sets by name.

    Published weights are looked up in `workspace`, by default that of SG_BENCH_HOME or of the current folder.

    Raises:
        UsageError: a method, task or setting does not exist or does not fit, or there are more than MAX_CELLS cells.
    """
    chosen = suite if isinstance(suite, Suite) else load_suite(suite)
    folders = {name: Path(root) for name, root in (roots or {}).items()}
    opened = workspace if isinstance(workspace, Workspace) else Workspace(workspace) if workspace else None
    planner = _Planner(chosen, folders, opened or Workspace.default())
    return planner.plan()


class _Planner:
    def __init__(self, suite: Suite, roots: dict[str, Path], workspace: Workspace) -> None:
        self.suite = suite
        self.roots = roots
        self.workspace = workspace
        self.folder = Path(suite.folder) if suite.folder else None
        self.tasks = suite_tasks(suite)
        self.out = Plan(suite, self.tasks, roots=roots)
        self._sources: dict[str, Source] = {}
        """Opened sources, by the keys of their stores."""
        self._stores: dict[str, TypedJob[StoreRecipe] | DataError] = {}
        self._corpora: dict[SpatialDims, tuple[TypedJob[StoreRecipe], CorpusRecipe]] = {}
        self._discoveries: dict[str, TypedJob[DiscoveryRecipe]] = {}
        self._plugins: dict[str, PluginCode | None] = {}
        self._plugins_of_networks: dict[str, PluginCode | None] = {}

    def plan(self) -> Plan:
        check_tasks(self.tasks)
        check_roots(self.suite, self.roots)
        check_overlay(self.suite)
        for task in self.tasks:
            self.out.warn(f"task '{task.label}'", settings_without_effect(task))
        chosen = [(method, self._tasks_of(method), self._pretraining_seeds(method)) for method in self.suite.methods]
        check_count(
            sum(len(self._seeds(method, task)) * len(seeds) for method, tasks, seeds in chosen for task in tasks)
        )
        targets = {task.label: _attempt(self._target, task) for task in self.tasks}
        for method, tasks, seeds in chosen:
            dimensions = list(dict.fromkeys(task.dimension for task in tasks))
            configs = {d: _attempt(self._method_config, method, d) for d in dimensions}
            self._check_patches(tasks, configs)
            for seed in seeds:
                made = {d: _attempt(self._initialisation, method, configs[d], seed) for d in dimensions}
                for task in tasks:
                    self._cells(method, seed, made[task.dimension], task, targets[task.label])
        return self.out

    def _tasks_of(self, method: MethodChoice) -> list[Task]:
        """Return the tasks that a method is fine-tuned on."""
        named = zip(self.tasks, self.suite.tasks, strict=True)
        return [task for task, name in named if self.suite.pairs(method.title, name)]

    def _seeds(self, method: MethodChoice, task: Task) -> list[int]:
        """Return the seeds that a method is fine-tuned with on a task."""
        named = next(name for each, name in zip(self.tasks, self.suite.tasks, strict=True) if each is task)
        return self.suite.fine_tuning_seeds_of(method.title, named)

    def _pretraining_seeds(self, method: MethodChoice) -> list[int]:
        """Return the suite's seeds; 0 alone for published weights, as one file is one pretraining."""
        published = "weights" in _needs(METHODS.config(method.name))
        return [0] if published else self.suite.pretraining_seeds

    def _cells(
        self,
        method: MethodChoice,
        seed: int,
        initialisation: TypedJob[PretrainingRecipe] | DataError,
        planned: Task,
        target: tuple[Task, TypedJob[StoreRecipe]] | DataError,
    ) -> None:
        label, fine_tuning_seeds = planned.label, self._seeds(method, planned)
        if isinstance(target, DataError) or isinstance(initialisation, DataError):
            absent = target if isinstance(target, DataError) else initialisation
            why = self.out.without_paths(str(absent))
            for fine_tuning_seed in fine_tuning_seeds:
                self.out.cells.append(PlannedCell("", method.title, label, seed, fine_tuning_seed, missing=why))
            return
        task, store = target
        needs = (store.key, initialisation.key)
        for fine_tuning_seed in fine_tuning_seeds:
            recipe = CellRecipe.model_construct(  # of valid parts: validation would take most of the time
                task=task,
                store=store.recipe,
                initialisation=initialisation.recipe,
                pretraining_seed=seed,
                fine_tuning_seed=fine_tuning_seed,
            )
            title = f"{method.title} on {label}, seeds {seed}/{fine_tuning_seed}"
            job = self.out.add(TypedJob(recipe, needs, title))
            self.out.cells.append(PlannedCell(job.key, method.title, label, seed, fine_tuning_seed))

    def _target(self, task: Task) -> tuple[Task, TypedJob[StoreRecipe]]:
        """Return a task whose split names its lists by content, and the job that makes its store."""
        store = self._store(task.data.name, task.data.source, task.data.config, task.preparation)
        source = self._sources[store.key]
        check_lists(task.split, self.folder or Path(), source.cases, task.data.name)
        split = self._resolved(task.split)
        try:
            lines = check_parts(task, split, source.cases, self.out.lists, self.suite.fine_tuning_seeds)
            lines += check_label_values(task, source, source.cases)
        except DataError as error:
            raise _with_problems(error, source, task) from error
        self.out.warn(f"task '{task.label}'", lines)
        return task.model_copy(update={"split": split}), store

    def _resolved(self, split: Split) -> Split:
        """Return `split` with the SHA-256 of each list in place of its file, and that of the other data set's ids.

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

    def _initialisation(
        self, method: MethodChoice, config: MethodConfig | DataError, seed: int
    ) -> TypedJob[PretrainingRecipe]:
        if isinstance(config, DataError):
            raise config
        if isinstance(config, PublishedConfig):
            config = config.located(self.workspace)
        needs: list[str] = []
        corpus = patterns = None
        if "corpus" in config.needs:
            store, corpus = self._corpus(config.dimension)
            config = for_channels(config, store.recipe.channels)
            needs.append(store.key)
            rule = getattr(config, "crops", None)
            if isinstance(rule, CropRule) and "crops" not in config.without_effect():
                self._check_crops(rule, config.dimension, store, f"pretraining of '{method.title}'", "pretraining")
        if "patterns" in config.needs:
            discovered = self._patterns(config.dimension, method.discovery)
            check_one_channel(discovered.recipe.corpus.store.channels, f"self-discovery of '{method.title}'")
            patterns = discovered.recipe
            where = f"self-discovery of '{method.title}'"
            check_size(config.chosen_network, patterns.settings.crops.cube, where)
            needs.append(discovered.key)
        recipe = PretrainingRecipe(
            method=method.name,
            plugin=self._plugin(method.name),
            config=config,
            corpus=corpus,
            patterns=patterns,
            seed=seed,
        )
        title = f"pretrain {method.title}{' in 2D' if config.dimension == 2 else ''}, seed {seed}"
        return self._pretraining(recipe, needs, title)

    def _pretraining(self, recipe: PretrainingRecipe, needs: Iterable[str], title: str) -> TypedJob[PretrainingRecipe]:
        workers = recipe.config.workers
        if workers > 1 and self.suite.backend != "ray":
            raise UsageError(
                f"'{recipe.method}' asks for {workers} workers, which the local backend cannot give",
                hint="Use --set backend=ray, or --set pretraining.workers=1",
            )
        return self.out.add(TypedJob(recipe, tuple(needs), title))

    def _patterns(self, dimension: SpatialDims, own: Mapping[str, Any]) -> TypedJob[DiscoveryRecipe]:
        """Return the discovery of one corpus, with a method's `own` settings over those of suite and corpus."""
        identity = key_of([dimension, own])
        if identity not in self._discoveries:
            self._discoveries[identity] = self._new_patterns(dimension, own)
        return self._discoveries[identity]

    def _new_patterns(self, dimension: SpatialDims, own: Mapping[str, Any]) -> TypedJob[DiscoveryRecipe]:
        store, corpus = self._corpus(dimension)
        feeding, suffix = self._feeding(dimension), " in 2D" if dimension == 2 else ""
        given = merged(self.suite.discovery, feeding.discovery, dict(own), {"dimension": dimension})
        settings = validated(DiscoverySettings, given, "discovery of the suite")
        self._check_crops(settings.crops, dimension, store, "self-discovery", "discovery")
        needs, encoder = [store.key], None
        if settings.neighbours_by == "latent":
            config = self._config(
                AUTOENCODER, merged(self.suite.autoencoder, feeding.autoencoder), AUTOENCODER, dimension
            )
            encoder = PretrainingRecipe(
                method=AUTOENCODER, plugin=self._plugin(AUTOENCODER), config=config, corpus=corpus, seed=settings.seed
            )
            check_size(config.chosen_network, config.input_shape, "auto-encoder of self-discovery")
            title = f"pretrain auto-encoder of discovery{suffix}, seed {settings.seed}"
            needs.append(self._pretraining(encoder, needs, title).key)
        recipe = DiscoveryRecipe(settings=settings, corpus=corpus, autoencoder=encoder)
        return self.out.add(TypedJob(recipe, tuple(needs), f"discover patterns{suffix}"))

    def _plugin(self, method: str) -> PluginCode | None:
        """Return the code of a method that is not part of sg-bench, read once in each plan."""
        if method not in self._plugins:
            self._plugins[method] = METHODS.plugin(method)
        return self._plugins[method]

    def _feeding(self, dimension: SpatialDims) -> Corpus:
        """Return the corpus of 2D or of 3D networks."""
        name: CorpusKey = "2d" if dimension == 2 else "3d"
        if name not in self.suite.corpora:
            raise UsageError(f"the suite names no {name} corpus", hint=f"Add `corpora: {{{name}: {{...}}}}`")
        return self.suite.corpora[name]

    def _corpus(self, dimension: SpatialDims) -> tuple[TypedJob[StoreRecipe], CorpusRecipe]:
        if dimension not in self._corpora:
            self._corpora[dimension] = self._new_corpus(self._feeding(dimension))
        return self._corpora[dimension]

    def _new_corpus(self, corpus: Corpus) -> tuple[TypedJob[StoreRecipe], CorpusRecipe]:
        part = None
        if corpus.task:
            task, store = self._target(corpus_task(self.suite, corpus))
            if task.split.folds:
                raise UsageError(
                    f"task '{task.label}' tests on other patients for each seed, so it cannot be a corpus",
                    hint="Choose a split without folds",
                )
            part = CorpusPart(split=task.split)
        else:
            store = self._store(corpus.name, corpus.source, corpus.config, corpus.preparation)
        cases = self._sources[store.key].cases
        if corpus.split:
            check_lists(corpus.split, self.folder or Path(), cases, corpus.name or corpus.task)
        split = self._resolved(corpus.split) if corpus.split else None
        split = split or Split(seed=corpus.seed, train=1 - corpus.validation, validation=corpus.validation)
        if part:
            kept = set(assign(cases, part.split, lists=self.out.lists)[part.of])
            cases = [case for case in cases if case.id in kept]
        assign(cases, split, lists=self.out.lists)  # refuses parts that would be empty
        return store, CorpusRecipe(store=store.recipe, part=part, split=split)

    def _check_crops(
        self, rule: CropRule, dimension: SpatialDims, store: TypedJob[StoreRecipe], what: str, setting: str
    ) -> None:
        corpus, source = self._feeding(dimension), self._sources[store.key]
        name = corpus.name or f"training part of {corpus.task}"
        hint = f"Set smaller {setting}.crops: cube and border, and air: null for other images than chest CT"
        check_crops(rule, source, source.cases, store.recipe.preparation, f"{what} on '{name}'", hint)

    def _store(
        self, name: str, source_name: str, config: Mapping[str, Any], preparation: Preparation
    ) -> TypedJob[StoreRecipe]:
        settings = validated(SOURCES.config(source_name), dict(config), f"config of source '{source_name}'")
        identity = key_of([name, source_name, settings, preparation])
        if identity not in self._stores:
            self._stores[identity] = _attempt(self._new_store, name, source_name, settings, preparation)
        found = self._stores[identity]
        if isinstance(found, DataError):
            raise found
        return found

    def _new_store(self, name: str, source_name: str, settings: Any, preparation: Preparation) -> TypedJob[StoreRecipe]:
        source = open_source(source_name, settings, self.roots.get(name), name)
        recipe = store_recipe(source_name, source, preparation)
        job = self.out.add(TypedJob(recipe, (), f"prepare {name}", source.root))
        self._sources[job.key] = source
        self.out.left_out[job.key] = [str(problem) for problem in source.left_out()]
        return job

    def _method_config(self, method: MethodChoice, dimension: SpatialDims) -> MethodConfig:
        """Return the config of a method with its network, its own or the suite's."""
        setting = (method.network or self.suite.network).get("2d" if dimension == 2 else "3d")
        choice = self._network(setting, dimension) if setting else None
        config = self._config(method.name, method.config, method.title, dimension, choice)
        if isinstance(config, CheckpointConfig):  # its network is that of its file
            config = config.located(self.workspace)
        if choice:
            check_network(config, method.name, choice)
        check_size(config.chosen_network, config.input_shape, f"pretraining of '{method.title}'")
        return config

    def _network(self, setting: NetworkSetting, dimension: SpatialDims) -> NetworkChoice:
        if setting.name not in self._plugins_of_networks:
            self._plugins_of_networks[setting.name] = NETWORKS.plugin(setting.name)
        return chosen_network(setting, dimension, self.suite.width, self._plugins_of_networks[setting.name])

    def _check_patches(self, tasks: Iterable[Task], configs: Mapping[SpatialDims, MethodConfig | DataError]) -> None:
        for task in tasks:
            config = configs[task.dimension]
            if not isinstance(config, DataError):
                check_size(config.chosen_network, task.sampling.input_shape, f"task '{task.label}'")

    def _config(
        self,
        name: str,
        own: Mapping[str, Any],
        title: str,
        dimension: SpatialDims,
        choice: NetworkChoice | None = None,
    ) -> MethodConfig:
        """Return a method's config: its defaults, the settings of suite and corpus for all methods, then its own."""
        model: Any = METHODS.config(name)
        if dimension not in model.dimensions:
            raise DataError(f"{name} has no {dimension}D version", hint="Leave it out of these tasks")
        trained = bool(model.needs - {"weights"})
        known = model.model_fields.keys() - (set() if trained else {"training", "workers"})
        corpus = self.suite.corpora.get("2d" if dimension == 2 else "3d")
        everywhere = {"training": {"precision": self.suite.precision}} if self.suite.precision else {}
        given = merged(everywhere, self.suite.pretraining, corpus.pretraining if corpus else {})
        shared = {key: value for key, value in given.items() if key in known}
        given_network = network_settings(choice) if choice else {"width": self.suite.width}
        if issubclass(model, PublishedConfig):  # its network follows from its weights
            given_network.pop("network", None)
        check_own_settings(own, title, given_network)
        fixed = {**given_network, "dimension": dimension}
        config: MethodConfig = validated(model, merged(shared, fixed, dict(own)), f"config of method '{title}'")
        return config


def _needs(config: Any) -> frozenset[str]:
    needs: frozenset[str] = config.needs
    return needs


def _with_problems(error: DataError, source: Source, task: Task) -> DataError:
    """Return `error` with its task, and the first defect of the data that scanning sees, which may be its cause."""
    defects = [problem for problem in source.problems() if not problem.warning]
    cause = f" ({defects[0]})" if defects else ""
    return DataError(f"task '{task.label}': {error.problem}{cause}", hint=error.hint)


def _attempt(make: Callable[..., T], *arguments: Any) -> T | DataError:
    """Return what `make` returns, or the DataError that makes its cells `missing` while the rest of the suite runs."""
    try:
        return make(*arguments)
    except DataError as error:
        return error
