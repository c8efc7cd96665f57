"""Cautions of a report on the images and label maps of its tasks.

Doubtful images, cases without a candidate, label values that no class names, and masks that are empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sg_bench.data.contents import LabelCounts, empty_masks, label_counts, label_problems
from sg_bench.data.splits import assign
from sg_bench.data.store import SkippedCase, Store, StoredCase, doubtful_cases
from sg_bench.errors import DamagedError, DataError
from sg_bench.planning import Plan, is_built
from sg_bench.recipes import CellRecipe, StoreRecipe
from sg_bench.workspace import Workspace, read_json, write_json


def label_cautions(plan: Plan, workspace: Workspace) -> list[str]:
    """Return one line for each caution on the images and label maps of folders, of the stores that are prepared."""
    recipes = {job.recipe.task.label: job.recipe for job in plan.of_kind("cell")}
    return [f"{label}: {line}" for label, recipe in recipes.items() for line in _of_task(recipe, plan, workspace)]


def _of_task(recipe: CellRecipe, plan: Plan, workspace: Workspace) -> Iterator[str]:
    job = plan.jobs.get(recipe.store.key)
    if job is None or job.root is None or not is_built(workspace, job):
        return
    try:
        path = workspace.path("stores", recipe.store.key)
        yield from doubtful_cases(path)
        store = Store.open(path)
        yield from _without_candidate(recipe, store, plan)
        if recipe.store.source != "folder" or not recipe.task.masks:
            return
        counts = _counts(store, recipe.store, workspace)
        values = {value for each in counts.values() for value in each}
        cases: list[StoredCase | SkippedCase] = [*store.cases, *store.skipped]
        parts = assign(cases, recipe.task.split, lists=plan.lists)
        yield from label_problems(recipe.task.masks, values, len(counts), len(counts) + 1)
        yield from empty_masks(recipe.task.masks, counts, parts)
    except (DamagedError, DataError):  # raised where it is read next
        return


def _without_candidate(recipe: CellRecipe, store: Store, plan: Plan) -> Iterator[str]:
    """Yield the number of cases of each part that have no crop, where a task crops candidates."""
    if recipe.task.sampling.places != "candidates":
        return
    cases: list[StoredCase | SkippedCase] = [*store.cases, *store.skipped]
    kind = "candidate" if recipe.task.kind == "classification" else "positive candidate"
    for part, ids in assign(cases, recipe.task.split, lists=plan.lists).items():
        there = [id_ for id_ in ids if id_ in store]
        empty = [id_ for id_ in there if not any(c.positive or kind == "candidate" for c in store[id_].candidates)]
        if empty:
            some = f"{', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}"
            yield f"{len(empty)} of {len(there)} {part} cases hold no {kind} and take no part ({some})"


def _counts(store: Store, recipe: StoreRecipe, workspace: Workspace) -> dict[str, LabelCounts]:
    """Return the voxels of each label value, by case; they are kept in the workspace."""
    path = workspace.path("splits", f"{recipe.key}.labels.json")
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # absent or damaged: counted anew
        kept = read_json(path)
        if kept["store"] == store.digest:
            return {id_: {int(value): count for value, count in each.items()} for id_, each in kept["counts"].items()}
    counts = {case.id: label_counts(store.label(case.id)) for case in store.cases if case.labelled}
    write_json(path, {"store": store.digest, "counts": counts})
    return counts
