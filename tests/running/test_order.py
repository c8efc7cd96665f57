"""Jobs start in an order that keeps devices busy to the end and loads images and weights once."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe
from sg_bench.running.order import effort, start_order
from sg_bench.tasks import read_task
from tests.recipes import corpus_recipe, fake_job, pretraining_recipe, store_recipe

TASKS = ("ncc", "ncc[fraction=0.1]", "ncs", "lcs[steps=240]")
LONG, SHORT = {"training": {"epochs": 9}}, {"training": {"epochs": 2}}


def cell(task: str, method: str = "scratch", seed: int = 0) -> Job:
    recipe = CellRecipe(
        task=read_task(task),
        store=store_recipe(digest=task[:3]),
        initialisation=pretraining_recipe(method),
        pretraining_seed=0,
        fine_tuning_seed=seed,
    )
    return Job(recipe, (), f"{method} {task} {seed}")


def pretraining(method: str, **settings: Any) -> Job:
    return Job(pretraining_recipe(method, corpus_recipe(), **settings), (), method)


def titles(*jobs: Job) -> list[str]:
    order = start_order(jobs)
    return [job.title for job in sorted(jobs, key=lambda job: order[job.key])]


CELLS = [cell(task, method, seed) for task in TASKS for method in ("scratch", "rotation") for seed in (0, 1)]


@given(st.permutations(CELLS))
def test_cells_of_the_same_images_and_weights_are_next_to_each_other(jobs: list[Job]) -> None:
    order = start_order(jobs)
    ranked = sorted(jobs, key=lambda job: order[job.key])
    groups = [group for group, _ in groupby(ranked, lambda job: (job.recipe.store.key, job.recipe.initialisation.key))]
    assert len(groups) == len(set(groups)) == 6


def test_the_group_with_the_longest_cell_starts_first_and_its_longest_cell_before_its_others() -> None:
    found = titles(cell("ncc[fraction=0.1]"), cell("lcs[steps=240]"), cell("ncc"))
    assert found.index("scratch ncc 0") < found.index("scratch ncc[fraction=0.1] 0")
    efforts = {job.title: effort(job.recipe) for job in CELLS}
    firsts = [next(group) for _, group in groupby(titles(*CELLS), lambda title: title.split("[")[0].split()[:2])]
    assert [efforts[title] for title in firsts] == sorted((efforts[title] for title in firsts), reverse=True)


def test_long_pretrainings_start_before_short_ones() -> None:
    assert titles(pretraining("rotation", **SHORT), pretraining("inpainting", **LONG)) == ["inpainting", "rotation"]


def test_kinds_keep_their_order_and_what_a_discovery_needs_is_first() -> None:
    jobs = [
        cell("ncc"),
        pretraining("inpainting", **LONG),
        fake_job("initialisation", "encoder", title="encoder"),
        fake_job("patterns", "found", "encoder", title="patterns"),
        fake_job("store", "images", title="store"),
    ]
    assert titles(*jobs) == ["store", "encoder", "patterns", "inpainting", "scratch ncc 0"]


def test_effort_grows_with_steps_samples_voxels_and_width_and_ends_with_a_limit_of_steps() -> None:
    assert effort(pretraining("rotation", **LONG).recipe) > effort(pretraining("rotation", **SHORT).recipe) > 0
    wide = pretraining("rotation", width=64, **SHORT)
    assert effort(wide.recipe) == 4 * effort(pretraining("rotation", width=32, **SHORT).recipe)
    assert effort(cell("lcs[steps=240]").recipe) > effort(cell("lcs[steps=24]").recipe)
    assert effort(pretraining_recipe("scratch")) == effort(store_recipe()) == 0
