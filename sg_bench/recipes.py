"""Recipes: everything that determines a result and is known before anything is computed, and the keys of results.

There is one class for each kind of result. A recipe holds the recipes of the results that it is computed from, so
keys chain: one changed setting renames exactly the results that depend on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator, model_validator

from sg_bench.config import Model, NotNegative, Preparation, Split
from sg_bench.data.sources.base import SourceConfig
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.methods.configs import MethodConfig
from sg_bench.methods.published_config import PretrainingData, PublishedConfig
from sg_bench.registry import METHODS, SOURCES, PluginCode
from sg_bench.tasks import Task

RecipeKind = Literal["store", "initialisation", "patterns", "cell"]


class BaseRecipe(Model):
    """What all recipes have in common."""

    @cached_property
    def key(self) -> str:
        """The name of the result: SHA-256 (64 hex digits) of the canonical JSON of `key_content()`."""
        return hashlib.sha256(self.key_json.encode()).hexdigest()


class Manifest(Model):
    """Which cases a source has: ids, patients, relative paths and sizes."""

    cases: NotNegative
    sha256: str


class StoreRecipe(BaseRecipe):
    """The prepared images of a data set."""

    kind: Literal["store"] = "store"
    source: str
    plugin: PluginCode | None = None
    """Code of the source, where it is not part of sg-bench."""
    config: SourceConfig
    findings: tuple[str, ...] = ()
    """Names of the findings that the source knows of whole images."""
    manifest: Manifest
    preparation: Preparation

    @property
    def channels(self) -> int:
        """Return the number of channels of every image, as the source's settings say."""
        return len(getattr(self.config, "channels", ())) or 1

    @field_validator("config", mode="before")
    @classmethod
    def _of_source(cls, given: Any, info: ValidationInfo) -> Any:
        return SOURCES.config(info.data["source"]).model_validate(given) if isinstance(given, Mapping) else given


class CorpusPart(Model):
    """The part of a task's cases that a corpus consists of."""

    split: Split
    of: Literal["train"] = "train"

    def without_effect(self) -> frozenset[str]:
        """Return the split's seed where nothing is drawn."""
        return frozenset() if self.split.draws else frozenset({"split.seed"})


class CorpusRecipe(Model):
    """Unlabelled images, and which of them train and validate a pretraining."""

    store: StoreRecipe
    part: CorpusPart | None = None
    """None: all cases of the store."""
    split: Split

    def without_effect(self) -> frozenset[str]:
        """Return the split's seed where nothing is drawn."""
        return frozenset() if self.split.draws else frozenset({"split.seed"})


class PretrainingRecipe(BaseRecipe):
    """The weights that a method gives."""

    kind: Literal["initialisation"] = "initialisation"
    method: str
    plugin: PluginCode | None = None
    """Code of the method, where it is not part of sg-bench."""
    config: MethodConfig
    corpus: CorpusRecipe | None = None
    patterns: DiscoveryRecipe | None = None
    seed: NotNegative

    @field_validator("config", mode="before")
    @classmethod
    def _of_method(cls, given: Any, info: ValidationInfo) -> Any:
        return METHODS.config(info.data["method"]).model_validate(given) if isinstance(given, Mapping) else given

    @property
    def classes(self) -> int:
        """Return the number of pseudo-labels; 0 for a method that does not use patterns."""
        return self.patterns.settings.classes if self.patterns else 0

    @property
    def pretraining_data(self) -> PretrainingData | None:
        """Return the data that published weights were pretrained on; None for any other method."""
        return self.config.seen if isinstance(self.config, PublishedConfig) else None


class DiscoveryRecipe(BaseRecipe):
    """The patterns that self-discovery finds in a corpus."""

    kind: Literal["patterns"] = "patterns"
    settings: DiscoverySettings
    corpus: CorpusRecipe
    autoencoder: PretrainingRecipe | None = None
    """Gives the latents by which neighbours are found; None where they are drawn at random."""


class CellRecipe(BaseRecipe):
    """An initialisation that is fine-tuned and tested on a task."""

    kind: Literal["cell"] = "cell"
    task: Task
    store: StoreRecipe
    initialisation: PretrainingRecipe
    pretraining_seed: NotNegative
    fine_tuning_seed: NotNegative

    @model_validator(mode="before")
    @classmethod
    def _recorded(cls, given: Any) -> Any:
        """Complete the task of a record, which has neither a title nor its data set's name."""
        if isinstance(given, Mapping) and isinstance(given.get("task"), Mapping):
            return {**given, "task": _complete_task(given["task"], given["store"])}
        return given


PretrainingRecipe.model_rebuild()
Recipe = StoreRecipe | PretrainingRecipe | DiscoveryRecipe | CellRecipe
_RECIPES: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="kind")])


def read_recipe(content: Mapping[str, Any]) -> Recipe:
    """Return the recipe whose `key_content()` a record holds.

    Raises:
        ValidationError: it was written by another version, or is damaged.
        UsageError: a method or source is not installed.
    """
    return _RECIPES.validate_python(dict(content))


def recorded_task(recipe: Mapping[str, Any]) -> Task:
    """Return the task of a cell's record, also of one written before keys were made of typed recipes.

    Its title and the name of its data set, which records do not hold, are empty.
    """
    task = dict(recipe["task"])
    training = task.get("training", {})
    if training.get("precision") == "auto":  # no longer a choice; it only affects training
        task["training"] = {**training, "precision": "float32"}
    if "beside" in task:
        task["secondary"] = task.pop("beside")
    return Task.model_validate(_complete_task(task, recipe["store"]))


def _complete_task(task: Mapping[str, Any], store: Any) -> dict[str, Any]:
    source, config = (
        (store.source, store.config.key_content())
        if isinstance(store, StoreRecipe)
        else (store["source"], store["config"])
    )
    return {"title": "", "data": {"name": "", "source": source, "config": config}, **task}
