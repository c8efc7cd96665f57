"""What jobs have to do: cases, training steps and epochs, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from sg_bench.config import Split, Training
from sg_bench.data.sources.base import Case
from sg_bench.data.splits import SplitMember, SplitParts, assign
from sg_bench.errors import SgBenchError
from sg_bench.methods.configs import AutoencoderConfig, CropsConfig
from sg_bench.planning.measurements import Measurement
from sg_bench.planning.plans import Plan
from sg_bench.planning.stores import open_source
from sg_bench.recipes import CellRecipe, CorpusRecipe, DiscoveryRecipe, PretrainingRecipe, Recipe, StoreRecipe


@dataclass(frozen=True)
class Amount:
    """What one job has to do."""

    cases: int = 0
    """Prepared, cut, encoded or tested."""
    steps: int = 0
    """At least: where patience may end a training, those that it takes when that happens at once."""
    most_steps: int = 0
    """At most."""
    samples: float = 0.0
    """Validation samples after each epoch."""
    epochs: int = 0
    """With `steps`."""
    most_epochs: int = 0
    windows: int = 0
    """Of a discovery."""

    @property
    def open_ended(self) -> bool:
        """Return whether patience decides how long the training is."""
        return self.most_steps > self.steps


@dataclass
class Parts:
    """Numbers of cases in the parts of splits, from the names that sources list; each store is listed once."""

    plan: Plan
    _cases: dict[str, list[SplitMember]] = field(default_factory=dict)
    _counts: dict[tuple[str, int, int], SplitParts] = field(default_factory=dict)

    def of_task(self, recipe: CellRecipe) -> SplitParts:
        """Return the ids of each part of a cell's task, before its fraction."""
        return self._parts(recipe.store, recipe.task.split, recipe.fine_tuning_seed)

    def of_corpus(self, corpus: CorpusRecipe) -> SplitParts:
        """Return the training and validation ids of a corpus."""
        members = self._members(corpus.store)
        if corpus.part:
            kept = set(self._divided(members, corpus.part.split)[corpus.part.of])
            members = [member for member in members if member.id in kept]
        return self._divided(members, corpus.split)

    def _parts(self, store: StoreRecipe, split: Split, seed: int) -> SplitParts:
        fold = seed % split.folds if split.folds else 0
        name = (store.key, id(split), fold)
        if name not in self._counts:
            self._counts[name] = self._divided(self._members(store), split, fold)
        return self._counts[name]

    def _divided(self, members: Sequence[SplitMember], split: Split, fold: int = 0) -> SplitParts:
        return assign(members, split, fold=fold, lists=self.plan.lists)

    def _members(self, store: StoreRecipe) -> list[SplitMember]:
        if store.key not in self._cases:
            job = self.plan.jobs[store.key]
            cases: list[Case] = open_source(store.source, store.config, job.root, store.source).scan()
            self._cases[store.key] = [SplitMember.of(case) for case in cases]
        return self._cases[store.key]


def amount(recipe: Recipe, measured: Measurement, parts: Parts) -> Amount | None:
    """Return what a job has to do; None if its split cannot be made, which the run reports."""
    try:
        return _amount(recipe, measured, parts)
    except SgBenchError:
        return None


def _amount(recipe: Recipe, measured: Measurement, parts: Parts) -> Amount:
    if isinstance(recipe, StoreRecipe):
        return Amount(cases=recipe.manifest.cases)
    if isinstance(recipe, DiscoveryRecipe):
        return Amount(cases=recipe.corpus.store.manifest.cases, windows=sum(_windows(recipe, parts)))
    if isinstance(recipe, PretrainingRecipe):
        return _pretraining(recipe, measured, parts)
    found = parts.of_task(recipe)
    train = max(1, round(len(found["train"]) * recipe.task.fraction))
    if recipe.task.probe:
        return Amount(len(found["train"]) + len(found["test"]))
    validation = len(found["validation"]) * measured.validation_samples
    done = _training(recipe.task.training, train * measured.train_samples, validation)
    return Amount(len(found["test"]), *done)


def _pretraining(recipe: PretrainingRecipe, measured: Measurement, parts: Parts) -> Amount:
    if recipe.corpus is None:
        return Amount()
    if recipe.patterns:
        train, validation = _windows(recipe.patterns, parts)
        return Amount(0, *_training(recipe.config.training, train, validation))
    found = parts.of_corpus(recipe.corpus)
    each = recipe.config.per_volume if isinstance(recipe.config, CropsConfig) else measured.train_samples
    each = 1 if isinstance(recipe.config, AutoencoderConfig) else each
    train, validation = len(found["train"]), len(found["validation"])
    return Amount(train + validation, *_training(recipe.config.training, train * each, validation * each))


def _windows(recipe: DiscoveryRecipe, parts: Parts) -> tuple[int, int]:
    """Return how many training and validation windows a discovery cuts, if every patient holds every pattern."""
    settings, found = recipe.settings, parts.of_corpus(recipe.corpus)
    train = settings.classes * min(settings.neighbours, len(found["train"])) * settings.resolutions
    return train, settings.classes * min(settings.validation_neighbours, len(found["validation"]))


def _training(training: Training, samples: float, validation: float) -> tuple[int, int, float, int, int]:
    """Return steps at least and at most, validation samples, and epochs at least and at most."""
    each = training.steps_per_epoch or max(1, int(samples // training.batch_size))
    epochs = training.epochs
    if training.steps is not None:
        epochs = min(epochs, ceil(training.steps / each))
    least = epochs if training.patience is None else min(epochs, training.patience + 1)
    limit = training.steps if training.steps is not None else epochs * each
    return min(least * each, limit), min(epochs * each, limit), validation, least, epochs
