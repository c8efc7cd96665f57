"""Recipes and jobs for tests that need some, whichever they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sg_bench.config import Preparation, Split
from sg_bench.planning import Job
from sg_bench.recipes import CorpusRecipe, Manifest, PretrainingRecipe, StoreRecipe
from sg_bench.registry import METHODS, SOURCES


def store_recipe(source: str = "folder", digest: str = "0", cases: int = 12) -> StoreRecipe:
    config: Any = SOURCES.config(source)()
    manifest = Manifest(cases=cases, sha256=digest)
    return StoreRecipe(source=source, config=config, manifest=manifest, preparation=Preparation())


def corpus_recipe(**split: Any) -> CorpusRecipe:
    return CorpusRecipe(store=store_recipe(), split=Split(**split or {"train": 0.5, "validation": 0.5}))


def pretraining_recipe(
    method: str = "scratch", corpus: CorpusRecipe | None = None, seed: int = 0, **settings: Any
) -> PretrainingRecipe:
    config: Any = METHODS.config(method).model_validate(settings)
    return PretrainingRecipe(method=method, config=config, corpus=corpus, seed=seed)


def fake_job(kind: Any, key: str, *needs: str, title: str = "") -> Job:
    """Return a job that has a key and a kind, and nothing that could be computed."""
    recipe: Any = SimpleNamespace(kind=kind, key=key, key_content=dict)
    return Job(recipe, needs, title or f"title of {key}")
