"""Who trains, validates and tests, as a recipe's split says, of the cases that a store holds."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sg_bench.data.splits import Parts, assign, read_list, write_split
from sg_bench.data.store import Store, StoredCase
from sg_bench.planning import Recipe, corpus_parts
from sg_bench.recipes import Split, key_of
from sg_bench.workspace import Workspace


def task_parts(store: Store, split: Split, fold: int, workspace: Workspace) -> tuple[Parts, Path]:
    """Return the ids of each part for one fold, and the file of the workspace in which they are written out."""
    parts = _divided(store, store.cases, split, workspace, fold)
    name = key_of({"store": store.recipe, "split": split, "fold": fold % split.folds if split.folds else 0})
    path = workspace.path("splits", f"{name}.csv")
    if not path.is_file():
        write_split(path, parts, store.cases)
    return parts, path


def corpus_ids(recipe: Recipe, workspace: Workspace) -> tuple[Store, list[str], list[str]]:
    """Return a corpus's store and its training and validation ids."""
    store = Store.open(workspace.path("stores", key_of(recipe["store"])))
    outer, inner = corpus_parts(recipe)
    cases = store.cases
    if outer:
        kept = set(_divided(store, cases, outer, workspace)["train"])
        cases = [case for case in cases if case.id in kept]
    parts = _divided(store, cases, inner, workspace)
    return store, parts["train"], parts["validation"]


def _divided(store: Store, cases: Collection[StoredCase], split: Split, workspace: Workspace, fold: int = 0) -> Parts:
    digests = [*split.lists.values(), *([split.outside.ids] if split.outside else [])]
    lists = {digest: read_list(workspace.path("lists", f"{digest}.txt")) for digest in digests}
    left_out = [skipped.id for skipped in store.skipped]
    return assign(list(cases), split, fold=fold, lists=lists, left_out=left_out)
