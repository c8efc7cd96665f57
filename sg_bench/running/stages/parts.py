"""Training, validation and test cases by a recipe's split, and the test cases that pretraining has seen."""

from __future__ import annotations

from pathlib import Path

from sg_bench.config import Split, key_of
from sg_bench.data.leakage import comparable, overlap, same_names, training_overlap
from sg_bench.data.splits import SplitMember, SplitParts, assign, read_list, write_split
from sg_bench.data.store import SkippedCase, Store, StoredCase
from sg_bench.methods.published_config import PretrainingData
from sg_bench.recipes import CorpusRecipe, PretrainingRecipe
from sg_bench.registry import SOURCES
from sg_bench.running.stages.inputs import open_store
from sg_bench.workspace import Workspace, read_json, write_json


def task_parts(store: Store, split: Split, fold: int, workspace: Workspace) -> tuple[SplitParts, Path]:
    """Return the ids of each part for one fold, and the file of the workspace in which they are written out."""
    divided = _divided(_members(store), split, workspace, fold)
    parts: SplitParts = {part: [id_ for id_ in ids if id_ in store] for part, ids in divided.items()}
    name = key_of({"store": store.recipe, "split": split, "fold": fold % split.folds if split.folds else 0})
    path = workspace.path("splits", f"{name}.csv")
    write_split(path, parts, store.cases)
    return parts, path


def seen_before(
    initialisation: PretrainingRecipe, store: Store, split: Split, test: list[str], workspace: Workspace
) -> str:
    """Return one line on the test cases that an initialisation has seen, "" for none; the result is cached on disk.

    Args:
        initialisation: its recipe, with a corpus or with the data that published weights were pretrained on.
        store: the task's data.
        split: the task's.
        test: ids of its test cases.
        workspace: where the corpus's store is.
    """
    corpus = initialisation.corpus
    if corpus is None:
        seen = initialisation.pretraining_data
        return _published_overlap(seen, store, split, test) if seen else ""
    key = key_of({"version": 4, "corpus": corpus.key_content(), "store": store.recipe, "test": test})
    path = workspace.path("splits", f"{key}.seen.json")
    message = _cached_message(path)
    if message is None:
        corpus_store, *ids = corpus_ids(corpus, workspace)
        cases = [corpus_store[id_] for part in ids for id_ in part]
        same = same_names(corpus_store.recipe, store.recipe)
        prints = comparable(corpus_store.recipe, store.recipe)
        found = overlap(cases, [store[id_] for id_ in test], same, name=corpus.store.source, fingerprints=prints)
        message = found.message
        write_json(path, {"message": message})
    return message


def trained_on(store: Store, split: Split, fold: int, workspace: Workspace) -> str:
    """Return one line on the test cases whose images are among the training or validation cases, "" for none.

    They are found by content, as a split divides names. The result is cached on disk.
    """
    number = fold % split.folds if split.folds else 0
    key = key_of({"version": 2, "store": store.recipe, "split": split, "fold": number, "images": store.digest})
    path = workspace.path("splits", f"{key}.trained.json")
    message = _cached_message(path)
    if message is None:
        parts, _ = task_parts(store, split, fold, workspace)
        training = [store[id_] for id_ in (*parts["train"], *parts["validation"])]
        tested = [store[id_] for id_ in parts["test"]]
        message = training_overlap(training, tested, fingerprints=comparable(store.recipe)).message
        write_json(path, {"message": message})
    return message


def _cached_message(path: Path) -> str | None:
    """Return what an earlier cell found; None if nothing readable is there."""
    try:
        return str(read_json(path)["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _published_overlap(seen: PretrainingData, store: Store, split: Split, test: list[str]) -> str:
    """Return the overlap implied by the declared pretraining data of published weights; images cannot be compared."""
    own = store.recipe["source"]
    namespaces = {SOURCES.load(source).namespace for source in seen.sources} - {""}
    outside, groups = split.outside, set(seen.groups)
    apart = (
        outside and outside.source in seen.sources and (not outside.groups or (groups and groups <= {*outside.groups}))
    )
    if SOURCES.load(own).namespace not in namespaces or apart:
        return ""
    if own in seen.sources:
        held = [id_ for id_ in test if not groups or store[id_].group in groups]
        return f"the weights have seen {len(held)} of {len(test)} test cases ({seen.corpus})" if held else ""
    return f"the weights have seen {seen.corpus}, which may hold any of the {len(test)} test cases"


def corpus_ids(recipe: CorpusRecipe, workspace: Workspace) -> tuple[Store, list[str], list[str]]:
    """Return a corpus's store and its training and validation ids."""
    store = open_store(recipe.store, workspace)
    members = _members(store)
    if recipe.part:
        kept = set(_divided(members, recipe.part.split, workspace)[recipe.part.of])
        members = [member for member in members if member.id in kept]
    parts = _divided(members, recipe.split, workspace)
    train, validation = ([id_ for id_ in parts[part] if id_ in store] for part in ("train", "validation"))
    return store, train, validation


def _members(store: Store) -> list[SplitMember]:
    """Return all cases, those that could not be prepared too: they keep their place, so that no other case moves."""
    cases: list[StoredCase | SkippedCase] = [*store.cases, *store.skipped]
    return [SplitMember.of(case) for case in cases]


def _divided(members: list[SplitMember], split: Split, workspace: Workspace, fold: int = 0) -> SplitParts:
    digests = [*split.lists.values(), *([split.outside.ids] if split.outside else [])]
    lists = {digest: read_list(workspace.path("lists", f"{digest}.txt")) for digest in digests}
    return assign(members, split, fold=fold, lists=lists)
