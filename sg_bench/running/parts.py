"""Who trains, validates and tests, as a recipe's split says, of the cases that a store holds."""

from __future__ import annotations

from pathlib import Path

from sg_bench.data.splits import Member, Parts, assign, read_list, write_split
from sg_bench.data.store import Store
from sg_bench.planning import Recipe, corpus_parts
from sg_bench.recipes import Split, key_of
from sg_bench.workspace import Workspace


def task_parts(store: Store, split: Split, fold: int, workspace: Workspace) -> tuple[Parts, Path]:
    """Return the ids of each part for one fold, and the file of the workspace in which they are written out."""
    whole = _divided(_members(store), split, workspace, fold)
    parts: Parts = {part: [id_ for id_ in ids if id_ in store] for part, ids in whole.items()}
    name = key_of({"store": store.recipe, "split": split, "fold": fold % split.folds if split.folds else 0})
    path = workspace.path("splits", f"{name}.csv")
    if not path.is_file():
        write_split(path, parts, store.cases)
    return parts, path


def corpus_ids(recipe: Recipe, workspace: Workspace) -> tuple[Store, list[str], list[str]]:
    """Return a corpus's store and its training and validation ids."""
    store = Store.open(workspace.path("stores", key_of(recipe["store"])))
    outer, inner = corpus_parts(recipe)
    whole = _members(store)
    kept = set(_divided(whole, outer, workspace)["train"]) if outer else {member.id for member in whole}
    parts = _divided([member for member in whole if member.id in kept], inner, workspace)
    train, validation = ([id_ for id_ in parts[part] if id_ in store] for part in ("train", "validation"))
    return store, train, validation


def _members(store: Store) -> list[Member]:
    """Return all cases, those that could not be prepared too: they keep their place, so that no other case moves."""
    return [Member(case.id, case.patient, case.group, case.findings) for case in (*store.cases, *store.skipped)]


def _divided(members: list[Member], split: Split, workspace: Workspace, fold: int = 0) -> Parts:
    digests = [*split.lists.values(), *([split.outside.ids] if split.outside else [])]
    lists = {digest: read_list(workspace.path("lists", f"{digest}.txt")) for digest in digests}
    return assign(members, split, fold=fold, lists=lists)
