"""Who trains, validates and tests, of what a store holds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sg_bench.config import Outside, Split
from sg_bench.data.prepare import PreparedCase
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, skip_case, write_case
from sg_bench.methods.published_config import PretrainingData, TransVWPublishedConfig
from sg_bench.recipes import CorpusPart, CorpusRecipe, PretrainingRecipe, StoreRecipe
from sg_bench.running.stages.parts import corpus_ids, seen_before, task_parts, trained_on
from sg_bench.workspace import Workspace, write_atomic
from tests.recipes import pretraining_recipe, store_recipe

WHOLE = Split(train=0.5, test=0.5)
IDS = [f"c{number:02d}" for number in range(12)]


def make(workspace: Workspace, recipe: StoreRecipe, *, without: tuple[str, ...] = (), seed: int = 0) -> Store:
    folder = workspace.path("stores", recipe.key)
    for number, id_ in enumerate(IDS):
        case = Case(id_, f"p{number // 2}", group="even" if number % 2 == 0 else "odd")
        if id_ in without:
            folder.mkdir(parents=True, exist_ok=True)
            skip_case(folder, case, "it is damaged")
        else:
            image = np.random.default_rng([seed, number]).random((24, 24, 24)).astype(np.float16)
            write_case(folder, case, PreparedCase(image, (1.0, 1.0, 1.0), np.eye(4)))
    finish(folder, recipe.key_content(), IDS)
    return Store.open(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


class TestTrainedOn:
    SPLIT = Split(numbers={"train": (0, 3), "validation": (4, 5), "test": (6, 11)})

    def test_different_images_give_no_message(self, workspace: Workspace) -> None:
        assert trained_on(make(workspace, store_recipe("folder")), self.SPLIT, 0, workspace) == ""

    def test_an_image_of_the_test_part_under_another_id_is_found(self, workspace: Workspace) -> None:
        recipe = store_recipe("folder")
        store = make(workspace, recipe)
        twin = PreparedCase(np.array(store.image("c06"))[::-1].copy(), (1.0, 1.0, 1.0), np.eye(4))
        folder = workspace.path("stores", recipe.key)
        write_case(folder, Case("c00", "p0", group="even"), twin)
        finish(folder, recipe.key_content(), IDS)
        wanted = "the training part holds 1 of 6 test cases (1 by content)"
        for _ in range(2):  # the second time it is read from the workspace
            assert trained_on(Store.open(folder), self.SPLIT, 0, workspace) == wanted

    def test_of_generated_images_only_an_exact_copy_is_the_same(self, workspace: Workspace) -> None:
        recipe = store_recipe("phantom")
        store = make(workspace, recipe)
        folder = workspace.path("stores", recipe.key)
        for step, wanted in ((-1, ""), (1, "the training part holds 1 of 6 test cases (1 by content)")):
            twin = PreparedCase(np.array(store.image("c06"))[::step].copy(), (1.0, 1.0, 1.0), np.eye(4))
            write_case(folder, Case("c00", "p0", group="even"), twin)
            finish(folder, recipe.key_content(), IDS)
            assert trained_on(Store.open(folder), self.SPLIT, 0, workspace) == wanted


class TestTask:
    SPLIT = Split(train=0.5, validation=0.25, test=0.25)

    def test_its_parts_are_written_out_once(self, workspace: Workspace) -> None:
        store = make(workspace, store_recipe("folder"))
        parts, path = task_parts(store, self.SPLIT, 0, workspace)
        assert sorted(id_ for ids in parts.values() for id_ in ids) == IDS
        with path.open(newline="") as file:
            written = [(row["part"], row["id"]) for row in csv.DictReader(file)]
        assert written == [(part, id_) for part, ids in parts.items() for id_ in ids]
        before = path.stat().st_mtime_ns
        assert task_parts(store, self.SPLIT, 7, workspace) == (parts, path)
        assert path.stat().st_mtime_ns == before

    def test_a_case_that_could_not_be_prepared_moves_no_other(self, tmp_path: Path) -> None:
        whole, _ = task_parts(
            make(Workspace(tmp_path / "a"), store_recipe("folder")), self.SPLIT, 0, Workspace(tmp_path / "a")
        )
        without = make(Workspace(tmp_path / "b"), store_recipe("folder"), without=("c03", "c08"))
        parts, _ = task_parts(without, self.SPLIT, 0, Workspace(tmp_path / "b"))
        assert parts == {part: [id_ for id_ in ids if id_ not in ("c03", "c08")] for part, ids in whole.items()}

    def test_each_seed_has_its_fold_and_the_folds_its_files(self, workspace: Workspace) -> None:
        store, split = make(workspace, store_recipe("folder")), Split(folds=3, train=0.5, validation=0.5)
        found = [task_parts(store, split, seed, workspace) for seed in range(4)]
        assert sorted(id_ for parts, _ in found[:3] for id_ in parts["test"]) == IDS
        assert found[3] == found[0]
        assert len({path for _, path in found}) == 3

    def test_lists_are_read_from_the_workspace(self, workspace: Workspace) -> None:
        store = make(workspace, store_recipe("folder"))
        write_atomic(workspace.path("lists", "abc.txt"), "p0\np1\n")
        split = Split(lists={"test": "abc"}, train=0.5, validation=0.5)
        assert task_parts(store, split, 0, workspace)[0]["test"] == ["c00", "c01", "c02", "c03"]


class TestCorpus:
    def corpus(self, split: Split, part: Split | None = None, source: str = "folder") -> CorpusRecipe:
        outer = CorpusPart(split=part) if part else None
        return CorpusRecipe(store=store_recipe(source), part=outer, split=split)

    def test_its_own_split_leaves_test_cases_out(self, workspace: Workspace) -> None:
        make(workspace, store_recipe("folder"))
        split = Split(numbers={"test": (0, 3)}, train=0.5, validation=0.5)
        _, train, validation = corpus_ids(self.corpus(split), workspace)
        assert sorted(train + validation) == IDS[4:]

    def test_the_training_part_of_a_task_is_divided_again(self, workspace: Workspace) -> None:
        store = make(workspace, store_recipe("folder"))
        outer = Split(train=0.5, validation=0.0, test=0.5)
        _, train, validation = corpus_ids(self.corpus(Split(train=0.67, validation=0.33), outer), workspace)
        assert sorted(train + validation) == task_parts(store, outer, 0, workspace)[0]["train"]

    def test_test_cases_that_it_holds_are_told_and_no_others(self, workspace: Workspace) -> None:
        store = make(workspace, store_recipe("folder"))
        other = make(workspace, store_recipe("folder", "1"), seed=1)
        made = pretraining_recipe("rotation", self.corpus(Split(train=0.5, validation=0.5)))
        reason = seen_before(made, store, WHOLE, ["c01", "c02"], workspace)
        assert "holds 2 of 2 test cases" in reason
        assert seen_before(made, store, WHOLE, ["c01", "c02"], workspace) == reason
        assert seen_before(made, other, WHOLE, ["c01", "c02"], workspace) == ""
        assert seen_before(pretraining_recipe("scratch"), store, WHOLE, ["c01"], workspace) == ""

    def test_an_image_of_another_name_is_found_by_what_it_shows(self, workspace: Workspace) -> None:
        make(workspace, store_recipe("folder"))
        renamed = make(workspace, store_recipe("luna16", "2"))
        made = pretraining_recipe("rotation", self.corpus(Split(train=0.5, validation=0.5)))
        assert "by content" in seen_before(made, renamed, WHOLE, ["c05"], workspace)


class TestPublishedWeights:
    SEEN = PretrainingData(corpus="LUNA16", sources=("luna16",), groups=("even",))
    CONFIG = TransVWPublishedConfig().model_copy(update={"seen": SEEN})
    MADE = PretrainingRecipe(method="transvw_published", config=CONFIG, seed=0)

    def message(self, workspace: Workspace, source: str, test: list[str], split: Split | None = None) -> str:
        return seen_before(self.MADE, make(workspace, store_recipe(source)), split or WHOLE, test, workspace)

    def test_cases_of_the_groups_that_they_saw_are_counted(self, workspace: Workspace) -> None:
        assert self.message(workspace, "luna16", ["c00", "c01", "c02"]) == (
            "the weights have seen 2 of 3 test cases (LUNA16)"
        )
        assert self.message(workspace, "luna16", ["c01", "c03"]) == ""

    def test_data_that_overlap_with_theirs_may_have_been_seen_unless_the_split_keeps_them_apart(
        self, workspace: Workspace
    ) -> None:
        assert "may hold any of the 2 test cases" in self.message(workspace, "lidc_idri", ["c00", "c01"])
        outside = Outside(data="luna16", source="luna16", groups=("even", "odd"))
        apart = Split(outside=outside, train=0.5, validation=0.5)
        assert self.message(workspace, "lidc_idri", ["c00", "c01"], apart) == ""

    def test_other_data_have_not_been_seen(self, workspace: Workspace) -> None:
        assert self.message(workspace, "lits", ["c00"]) == ""
