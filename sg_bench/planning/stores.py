"""Sources on their folders, and the recipes of their stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sg_bench.config import Preparation, key_of
from sg_bench.data.sources.base import Source
from sg_bench.errors import DataError
from sg_bench.recipes import Manifest, StoreRecipe
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


def store_recipe(source_name: str, source: Source, preparation: Preparation) -> StoreRecipe:
    """Return the recipe of a store: the cases of a source, prepared in one way."""
    manifest = source.manifest()
    return StoreRecipe(
        source=source_name,
        plugin=SOURCES.plugin(source_name),
        config=source.config,
        findings=source.findings,
        manifest=Manifest(cases=len(manifest["cases"]), sha256=key_of(manifest)),
        preparation=preparation,
    )
