"""Who trains, validates and tests, as a recipe's split says, and whether pretraining has seen who tests."""

from __future__ import annotations

from pathlib import Path

from sg_bench.config import Split, key_of
from sg_bench.data.leakage import overlap, same_names
from sg_bench.data.splits import SplitMember, SplitParts, assign, read_list, write_split
from sg_bench.data.store import SkippedCase, Store, StoredCase
from sg_bench.planning import Recipe, corpus_parts
from sg_bench.registry import SOURCES
from sg_bench.workspace import Workspace, read_json, write_json


def task_parts(store: Store, split: Split, fold: int, workspace: Workspace) -> tuple[SplitParts, Path]:
    """Return the ids of each part for one fold, and the file of the workspace in which they are written out."""
    whole = _divided(_members(store), split, workspace, fold)
    parts: SplitParts = {part: [id_ for id_ in ids if id_ in store] for part, ids in whole.items()}
    name = key_of({"store": store.recipe, "split": split, "fold": fold % split.folds if split.folds else 0})
    path = workspace.path("splits", f"{name}.csv")
    if not path.is_file():
        write_split(path, parts, store.cases)
    return parts, path


def seen_before(initialisation: Recipe, store: Store, split: Split, test: list[str], workspace: Workspace) -> str:
    """Return one line on the test cases that an initialisation has seen, "" for none; compared once, then remembered.

    Args:
        initialisation: its recipe: with a corpus, or with what published weights say that they have seen.
        store: the task's data.
        split: the task's.
        test: ids of its test cases.
        workspace: where the corpus's store is.
    """
    corpus = initialisation["corpus"]
    if corpus is None:
        return _declared(initialisation["config"].get("seen") or {}, store, split, test)
    key = key_of({"version": 2, "corpus": corpus, "store": store.recipe, "test": test})
    path = workspace.path("splits", f"{key}.seen.json")
    if not path.is_file():
        seen, *ids = corpus_ids(corpus, workspace)
        cases = [seen[id_] for part in ids for id_ in part]
        alike = same_names(corpus["store"], store.recipe)
        found = overlap(cases, [store[id_] for id_ in test], alike, name=corpus["store"]["source"])
        write_json(path, {"message": found.message})
    message: str = read_json(path)["message"]
    return message


def _declared(seen: Recipe, store: Store, split: Split, test: list[str]) -> str:
    """Return what follows from the words of published weights; their images are not there to be compared."""
    own, sources = store.recipe["source"], seen.get("sources", ())
    spaces = {SOURCES.load(source).namespace for source in sources} - {""}
    outside, groups = split.outside, set(seen.get("groups", ()))
    apart = outside and outside.source in sources and (not outside.groups or (groups and groups <= {*outside.groups}))
    if SOURCES.load(own).namespace not in spaces or apart:
        return ""
    if own in sources:
        held = [id_ for id_ in test if not groups or store[id_].group in groups]
        return f"the weights have seen {len(held)} of {len(test)} test cases ({seen['corpus']})" if held else ""
    return f"the weights have seen {seen['corpus']}, which may hold any of the {len(test)} test cases"


def corpus_ids(recipe: Recipe, workspace: Workspace) -> tuple[Store, list[str], list[str]]:
    """Return a corpus's store and its training and validation ids."""
    store = Store.open(workspace.path("stores", key_of(recipe["store"])))
    outer, inner = corpus_parts(recipe)
    whole = _members(store)
    kept = set(_divided(whole, outer, workspace)["train"]) if outer else {member.id for member in whole}
    parts = _divided([member for member in whole if member.id in kept], inner, workspace)
    train, validation = ([id_ for id_ in parts[part] if id_ in store] for part in ("train", "validation"))
    return store, train, validation


def _members(store: Store) -> list[SplitMember]:
    """Return all cases, those that could not be prepared too: they keep their place, so that no other case moves."""
    cases: list[StoredCase | SkippedCase] = [*store.cases, *store.skipped]
    return [SplitMember(case.id, case.patient, case.group, case.findings) for case in cases]


def _divided(members: list[SplitMember], split: Split, workspace: Workspace, fold: int = 0) -> SplitParts:
    digests = [*split.lists.values(), *([split.outside.ids] if split.outside else [])]
    lists = {digest: read_list(workspace.path("lists", f"{digest}.txt")) for digest in digests}
    return assign(members, split, fold=fold, lists=lists)
