"""The recipe of a store, and how a corpus divides one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sg_bench.config import Preparation, Split, key_of
from sg_bench.data.sources.base import Source
from sg_bench.errors import DataError
from sg_bench.planning.plans import Recipe
from sg_bench.registry import SOURCES


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
        "findings": list(source.findings),
        "manifest": {"cases": len(manifest["cases"]), "sha256": key_of(manifest)},
        "preparation": preparation.model_dump(mode="json"),
    }


def corpus_parts(recipe: Recipe) -> tuple[Split | None, Split]:
    """Return the split that a corpus is the training part of, or None, and its own training-validation split."""
    part = recipe["part"]
    outer = Split.model_validate(part["split"]) if part else None
    return outer, Split.model_validate(recipe["split"])
