"""Cautions of a report on the label maps of its tasks: values that no class names, and masks that are empty."""

from __future__ import annotations

from collections.abc import Iterator

from sg_bench.data.contents import LabelCounts, empty_masks, label_counts, label_problems
from sg_bench.data.splits import assign
from sg_bench.data.store import SkippedCase, Store, StoredCase
from sg_bench.errors import DamagedError, DataError
from sg_bench.planning import Plan, is_built
from sg_bench.recipes import CellRecipe, StoreRecipe
from sg_bench.workspace import Workspace, read_json, write_json


def label_cautions(plan: Plan, workspace: Workspace) -> list[str]:
    """Return one line for each caution on the label maps of the user's own data, of the stores that are prepared."""
    recipes = {job.recipe.task.label: job.recipe for job in plan.of_kind("cell")}
    return [f"{label}: {line}" for label, recipe in recipes.items() for line in _of_task(recipe, plan, workspace)]


def _of_task(recipe: CellRecipe, plan: Plan, workspace: Workspace) -> Iterator[str]:
    job = plan.jobs.get(recipe.store.key)
    if recipe.store.source != "folder" or job is None or not recipe.task.masks or not is_built(workspace, job):
        return
    try:
        store = Store.open(workspace.path("stores", recipe.store.key))
        counts = _counts(store, recipe.store, workspace)
        values = {value for each in counts.values() for value in each}
        cases: list[StoredCase | SkippedCase] = [*store.cases, *store.skipped]
        parts = assign(cases, recipe.task.split, lists=plan.lists)
        yield from label_problems(recipe.task.masks, values, len(counts), len(counts) + 1)
        yield from empty_masks(recipe.task.masks, counts, parts)
    except (DamagedError, DataError):  # told where it is read next
        return


def _counts(store: Store, recipe: StoreRecipe, workspace: Workspace) -> dict[str, LabelCounts]:
    """Return the voxels of each label value, by case; they are kept in the workspace."""
    path = workspace.path("splits", f"{recipe.key}.labels.json")
    try:
        kept = read_json(path)
        if kept["store"] == store.digest:
            return {id_: {int(value): count for value, count in each.items()} for id_, each in kept["counts"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    counts = {case.id: label_counts(store.label(case.id)) for case in store.cases if case.labelled}
    write_json(path, {"store": store.digest, "counts": counts})
    return counts
