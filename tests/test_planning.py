"""A suite becomes cells, and their keys change exactly where a number would."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sg_bench.config import differences, merged
from sg_bench.data.sources.base import Source
from sg_bench.data.sources.folder.reading import FILMS
from sg_bench.data.sources.volumes import VOLUMES
from sg_bench.data.splits import assign
from sg_bench.errors import UsageError
from sg_bench.ledger import Ledger
from sg_bench.planning import (
    FOLDERS,
    Job,
    Plan,
    is_built,
    open_source,
    plan,
    why_missing,
)
from sg_bench.suite import Suite, load_suite
from sg_bench.workspace import Workspace

NCC, NCS, LCS = (f"{name}[data=phantom]" for name in ("ncc", "ncs", "lcs"))
BASE: dict[str, Any] = {
    "name": "mine",
    "width": 4,
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["scratch", "models_genesis", "semantic_genesis"],
    "tasks": [NCC, NCS],
    "fine_tuning_seeds": "0-1",
}
CARD: dict[str, Any] = {
    "name": "scans",
    "title": "Scans",
    "kind": "segmentation",
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
    "data": {"name": "scans", "source": "folder", "config": {"labels": "labels/{id}.nii"}},
    "sampling": {"places": "foreground", "patch": [16, 16, 8]},
    "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
}
Cells = dict[tuple[str, str, int, int], str]
MakePlan = Callable[..., Plan]


def planned(**changes: Any) -> Plan:
    return plan(Suite.model_validate(merged(BASE, changes)))


def cells(found: Plan) -> Cells:
    return {(c.method, c.task, c.pretraining_seed, c.fine_tuning_seed): c.key for c in found.cells}


def methods_changed(before: Plan, after: Plan) -> set[str]:
    """Return the methods of which a cell has another key."""
    old, new = cells(before), cells(after)
    assert old.keys() == new.keys()
    return {name[0] for name in old if old[name] != new[name]}


def keys(found: Plan, kind: Any) -> set[str]:
    return {job.key for job in found.of_kind(kind)}


def record(job: Job, status: str = "done", kind: str = "method") -> dict[str, Any]:
    error = None if status == "done" else {"kind": kind, "message": "it broke"}
    return {
        "key": job.key,
        "status": status,
        "recipe": job.recipe.key_content(),
        "metrics": {},
        "cases": [],
        "error": error,
    }


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def with_card(tmp_path: Path) -> MakePlan:
    """Return a function that plans a suite in the folder of a card for scans, whose folder may be absent."""

    def make(card: dict[str, Any] | None = None, roots: dict[str, Path] | None = None, **changes: Any) -> Plan:
        (tmp_path / "card.yaml").write_text(yaml.safe_dump(merged(CARD, card or {})))
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**BASE, "tasks": ["card.yaml", NCS], **changes}))
        return plan(load_suite(str(tmp_path / "mine.yaml")), roots)

    return make


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for folder in ("images", "labels"):
        (tmp_path / "scans" / folder).mkdir(parents=True)
        for number in range(8):
            (tmp_path / "scans" / folder / f"{number}.nii").write_bytes(b"never read by planning")
    return tmp_path / "scans"


class TestCells:
    def test_there_is_one_for_each_method_task_and_pair_of_seeds(self) -> None:
        found = planned(pretraining_seeds="0-2")
        assert len(found.cells) == len(cells(found)) == 3 * 2 * 3 * 2
        assert len({cell.key for cell in found.cells}) == len(found.cells)

    def test_each_job_stands_after_what_it_needs(self) -> None:
        seen: set[str] = set()
        for job in planned().jobs.values():
            assert seen.issuperset(job.needs)
            seen.add(job.key)

    def test_a_store_an_initialisation_and_a_discovery_are_shared(self) -> None:
        found = planned()
        assert [len(found.of_kind(kind)) for kind in ("store", "initialisation", "patterns", "cell")] == [2, 4, 1, 12]

    def test_planning_twice_gives_the_same_keys_in_the_same_order(self) -> None:
        assert list(planned().jobs) == list(planned().jobs)

    def test_a_plan_writes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        planned().pending(Workspace.default())
        assert list(tmp_path.iterdir()) == []

    def test_five_thousand_cells_are_planned(self, workspace: Workspace) -> None:
        found = planned(
            methods=[{"name": "semantic_genesis", "label": f"m{i}", "config": {"workers": 1}} for i in range(10)],
            tasks=[NCC, NCS, LCS, "ncs[data=phantom,steps=8]", "lcs[data=phantom,steps=9]"],
            pretraining_seeds="0-9",
            fine_tuning_seeds="0-9",
        )
        assert len(found.cells) == 5000
        assert len(found.pending(workspace)) == 2 + 1 + 1 + 10 + 500


class TestKeys:
    def test_a_pretraining_setting_of_one_method_renames_exactly_its_cells(self) -> None:
        changed = ["scratch", {"name": "models_genesis", "config": {"per_volume": 7}}, "semantic_genesis"]
        assert methods_changed(planned(), planned(methods=changed)) == {"models_genesis"}

    def test_a_setting_of_pretraining_renames_what_is_pretrained_and_no_store(self) -> None:
        before, after = planned(), planned(pretraining={"training": {"epochs": 30}})
        assert methods_changed(before, after) == {"models_genesis", "semantic_genesis"}
        assert keys(before, "store") == keys(after, "store")
        assert not keys(before, "patterns") & keys(after, "patterns")

    @pytest.mark.parametrize("name", ["autoencoder", "discovery"])
    def test_a_setting_of_discovery_renames_what_depends_on_its_patterns(self, name: str) -> None:
        change = {"autoencoder": {"shape": [32, 32, 32]}, "discovery": {"classes": 5}}[name]
        before, after = planned(), planned(**{name: change})
        assert methods_changed(before, after) == {"semantic_genesis"}
        assert not keys(before, "patterns") & keys(after, "patterns")

    def test_another_corpus_renames_what_is_pretrained_on_it(self) -> None:
        after = planned(corpora={"3d": {"config": {"patients": 30}}})
        assert methods_changed(planned(), after) == {"models_genesis", "semantic_genesis"}

    def test_a_fine_tuning_setting_renames_all_cells_and_no_initialisation(self) -> None:
        before, after = planned(), planned(fine_tuning={"steps": 7})
        assert not set(cells(before).values()) & set(cells(after).values())
        assert keys(before, "initialisation") == keys(after, "initialisation")

    def test_the_width_renames_all_initialisations(self) -> None:
        assert not keys(planned(), "initialisation") & keys(planned(width=8), "initialisation")

    def test_a_label_a_title_a_note_and_checks_rename_nothing(self) -> None:
        labelled = [{"name": name, "label": f"my {name}"} for name in BASE["methods"]]
        reason = planned(methods=labelled, title="T", notes=["n"], checks=["losses_fall"], name="other", backend="ray")
        assert list(planned().jobs) == list(reason.jobs)

    @pytest.mark.parametrize("change", [{"title": "T"}, {"note": "n"}, {"follows": "f"}, {"data": {"name": "renamed"}}])
    def test_what_a_card_only_prints_renames_nothing(
        self, with_card: MakePlan, scans: Path, change: dict[str, Any]
    ) -> None:
        roots = {change.get("data", {}).get("name", "scans"): scans}
        assert list(with_card(roots={"scans": scans}).jobs) == list(with_card(change, roots).jobs)

    @pytest.mark.parametrize(
        "change",
        [
            {"version": 2},
            {"target": [2]},
            {"split": {"seed": 1}},
            {"split": {"stratify": True}},
            {"training": {"batch_size": 3}},
            {"sampling": {"centred": 0.1}},
            {"preparation": {"spacing": [2, 2, 2]}},
            {"data": {"config": {"patient": "^(.)"}}},
        ],
    )
    def test_what_changes_a_number_renames_the_tasks_cells_and_no_others(
        self, with_card: MakePlan, scans: Path, change: dict[str, Any]
    ) -> None:
        before, after = cells(with_card(roots={"scans": scans})), cells(with_card(change, {"scans": scans}))
        assert {name[1] for name in before if before[name] != after[name]} == {"scans"}

    def test_a_file_of_another_size_is_another_store_and_a_moved_folder_is_not(
        self, with_card: MakePlan, scans: Path
    ) -> None:
        before = with_card(roots={"scans": scans})
        moved = scans.rename(scans.with_name("moved"))
        assert list(with_card(roots={"scans": moved}).jobs) == list(before.jobs)
        (moved / "images" / "0.nii").write_bytes(b"grown since")
        assert keys(with_card(roots={"scans": moved}), "store") != keys(before, "store")

    def test_spelling_out_a_default_variant_renames_nothing(self, with_card: MakePlan, scans: Path) -> None:
        offer: dict[str, Any] = {"variants": {"size": {"small": {}, "big": {"sampling": {"patch": [32, 32, 32]}}}}}
        offer |= {"default": {"size": "small"}}
        tasks = ["card.yaml", "card.yaml[size=small]", "card.yaml[size=big]"]
        found = cells(with_card(offer, {"scans": scans}, tasks=tasks))
        assert found["scratch", "scans", 0, 0] == found["scratch", "scans[size=small]", 0, 0]
        assert found["scratch", "scans", 0, 0] != found["scratch", "scans[size=big]", 0, 0]

    def test_more_seeds_methods_and_tasks_leave_the_old_keys(self) -> None:
        more = planned(
            fine_tuning_seeds="0-4", pretraining_seeds="0-1", tasks=[LCS, NCC, NCS], methods=BASE["methods"][::-1]
        )
        assert cells(planned()).items() <= cells(more).items()

    def test_settings_that_scratch_cannot_use_leave_its_keys(self) -> None:
        found = planned(backend="ray", pretraining={"workers": 2, "training": {"epochs": 30}})
        assert methods_changed(planned(), found) == {"models_genesis", "semantic_genesis"}


class TestFineTuning:
    def test_the_suites_settings_lie_over_the_card(self) -> None:
        (task,) = planned(tasks=[NCC], fine_tuning={"batch_size": 3}).tasks
        assert (task.training.batch_size, task.training.schedule.every) == (3, 6)

    def test_a_variants_own_steps_lie_over_the_suites(self) -> None:
        short, long = planned(tasks=[LCS, "lcs[data=phantom,steps=240]"], fine_tuning={"steps": 20}).tasks
        assert (short.training.steps, long.training.steps) == (20, 240)


class TestMissingData:
    def test_cells_without_their_data_are_missing_with_the_reason_while_the_rest_is_planned(
        self, with_card: MakePlan, tmp_path: Path, workspace: Workspace
    ) -> None:
        for roots, reason in (({}, "Add --data scans=PATH"), ({"scans": tmp_path / "gone"}, "no such folder")):
            found = with_card(roots=roots)
            assert {cell.task for cell in found.cells if cell.missing} == {"scans"}
            assert all(reason in str(cell.missing) for cell in found.cells if cell.task == "scans")
            assert all(not cell.key for cell in found.cells if cell.missing)
            assert {job.key for job in found.pending(workspace)} == set(found.jobs)
            assert {cell.key for cell in found.cells if cell.task == NCS} == keys(found, "cell")

    def test_an_empty_folder_is_missing_data(self, with_card: MakePlan, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        reasons = {cell.missing for cell in with_card(roots={"scans": tmp_path / "empty"}).cells if cell.missing}
        assert reasons
        assert all(f"no {', '.join((*VOLUMES, *FILMS))} file matches" in str(reason) for reason in reasons)

    def test_without_the_corpus_only_what_needs_no_pretraining_is_planned(self, with_card: MakePlan) -> None:
        found = with_card(corpora={"3d": {"name": "ct", "source": "folder"}}, tasks=[NCS])
        assert {cell.method for cell in found.cells if not cell.missing} == {"scratch"}

    def test_an_absent_folder_is_looked_at_once(self, with_card: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
        looked = []

        def look(name: str, config: Any, root: Path | None, data_name: str) -> Source:
            looked.append(data_name)
            return open_source(name, config, root, data_name)

        monkeypatch.setattr("sg_bench.planning.planner.open_source", look)
        with_card(roots={"scans": Path("gone")}, corpora={"3d": {"task": "scans"}}, pretraining_seeds="0-9")
        assert sorted(looked) == ["phantom-labelled", "scans"]


class TestCorpusOfATask:
    def test_it_holds_the_tasks_training_patients_only(self, with_card: MakePlan, scans: Path) -> None:
        found = with_card(roots={"scans": scans}, corpora={"3d": {"task": "scans"}})
        (corpus,) = {job.recipe.corpus.key_json: job.recipe.corpus for job in found.of_kind("patterns")}.values()
        assert corpus.part is not None
        parts = assign([(str(i), str(i)) for i in range(8)], found.tasks[0].split)
        kept = assign([(str(i), str(i)) for i in range(8)], corpus.part.split)["train"]
        assert kept == parts["train"]
        inside = assign([(id_, id_) for id_ in kept], corpus.split)
        assert sorted(inside["train"] + inside["validation"]) == kept

    def test_it_shares_the_tasks_store_and_another_split_renames_what_is_pretrained(
        self, with_card: MakePlan, scans: Path
    ) -> None:
        before = with_card(roots={"scans": scans}, corpora={"3d": {"task": "scans"}}, tasks=["card.yaml"])
        assert len(before.of_kind("store")) == 1
        other = {"split": {"seed": 1}}
        after = with_card(other, {"scans": scans}, corpora={"3d": {"task": "scans"}}, tasks=["card.yaml"])
        assert len(keys(before, "initialisation") & keys(after, "initialisation")) == 1

    def test_the_exact_label_is_preferred_to_a_variant_of_that_name(self) -> None:
        corpora = {"3d": {"task": NCS, "name": "", "source": ""}}
        before = planned(tasks=[NCS], corpora=corpora)
        after = planned(tasks=[NCS, "ncs[data=phantom-clean]"], corpora=corpora)
        assert cells(before).items() <= cells(after).items()

    def test_a_built_in_task_need_not_be_fine_tuned_on(self) -> None:
        found = planned(tasks=[NCC], corpora={"3d": {"task": NCS, "name": "", "source": ""}})
        assert len(found.of_kind("initialisation")) == 4

    def test_an_unknown_task_suggests_the_nearest(self) -> None:
        with pytest.raises(UsageError, match=r"corpus of task 'nccs'.*Did you mean 'ncs'"):
            planned(corpora={"3d": {"task": "nccs", "name": "", "source": ""}})


class TestDimensions:
    FLAT = {"name": "films", "source": "phantom", "config": {"modality": "film"}}

    def both(self, **changes: Any) -> Plan:
        return planned(corpora={"2d": self.FLAT}, tasks=[NCS, "pxs[data=phantom]"], **changes)

    def test_a_method_is_pretrained_once_for_each_dimension_that_its_tasks_need(self) -> None:
        found = self.both(methods=["models_genesis"])
        configs = [job.recipe.config for job in found.of_kind("initialisation")]
        assert [config.dimension for config in configs] == [3, 2]
        assert len(found.cells) == 4
        needs = {job.title.partition(" on ")[2][:3]: job.needs for job in found.of_kind("cell")}
        assert needs["ncs"][1] != needs["pxs"][1]

    def test_films_feed_2d_methods_and_volumes_3d_ones(self) -> None:
        found = self.both(methods=["semantic_genesis"])
        sources = {
            job.recipe.config.dimension: job.recipe.corpus.store.config.key_content()["modality"]
            for job in found.of_kind("initialisation")
            if job.recipe.corpus
        }
        assert sources == {3: "ct", 2: "film"}
        assert [job.recipe.settings.dimension for job in found.of_kind("patterns")] == [3, 2]

    def test_what_a_corpus_says_of_pretraining_holds_for_its_dimension_alone(self) -> None:
        reason = {
            **self.FLAT,
            "pretraining": {"per_volume": 3},
            "discovery": {"classes": 7},
            "autoencoder": {"skips": False},
        }
        before, after = self.both(), planned(corpora={"2d": reason}, tasks=[NCS, "pxs[data=phantom]"])
        changed = {name[:2] for name, key in cells(after).items() if cells(before)[name] != key}
        assert changed == {(method, "pxs[data=phantom]") for method in ("models_genesis", "semantic_genesis")}

    def test_slices_of_volumes_are_seen_by_a_2d_network(self) -> None:
        found = planned(
            corpora={"2d": self.FLAT}, tasks=["ncc[data=phantom,protocol=slices]"], methods=["models_genesis"]
        )
        (initialisation,) = found.of_kind("initialisation")
        assert initialisation.recipe.config.dimension == 2

    def test_without_a_2d_corpus_what_needs_one_is_refused(self) -> None:
        with pytest.raises(UsageError, match="names no 2d corpus"):
            planned(tasks=["pxs[data=phantom]"])

    def test_the_dimension_is_no_setting_of_a_suite(self) -> None:
        with pytest.raises(UsageError, match="dimension is not a setting of methods"):
            planned(pretraining={"dimension": 2})

    def test_a_mistake_in_a_corpus_is_named_with_it(self) -> None:
        with pytest.raises(UsageError, match=r"corpora.3d.pretraining: no method has a setting 'crop'"):
            planned(corpora={"3d": {"pretraining": {"crop": 3}}})


class TestBlocks:
    def test_only_pairs_of_one_block_become_cells_and_nothing_else_is_pretrained(self) -> None:
        films = {"2d": TestDimensions.FLAT}
        blocks = [
            {"methods": ["scratch", "models_genesis"], "tasks": [NCS]},
            {"methods": ["scratch"], "tasks": ["pxs[data=phantom]"]},
        ]
        found = planned(
            corpora=films, methods=["scratch", "models_genesis"], tasks=[NCS, "pxs[data=phantom]"], blocks=blocks
        )
        assert {(cell.method, cell.task) for cell in found.cells} == {
            ("scratch", NCS),
            ("models_genesis", NCS),
            ("scratch", "pxs[data=phantom]"),
        }
        assert [job.recipe.config.dimension for job in found.of_kind("initialisation")] == [3, 2, 3]

    def test_a_block_may_be_run_with_some_of_the_seeds(self) -> None:
        blocks = [
            {"methods": ["scratch", "models_genesis"], "tasks": [NCS]},
            {"methods": ["scratch"], "tasks": ["ncc[data=phantom]"], "fine_tuning_seeds": [0, 7]},
        ]
        settings = {"methods": ["scratch", "models_genesis"], "tasks": [NCS, "ncc[data=phantom]"]}
        every = planned(**settings, fine_tuning_seeds="0-2")
        found = planned(**settings, fine_tuning_seeds="0-2", blocks=blocks)
        assert cells(found).items() < cells(every).items()
        assert Counter((cell.method, cell.task) for cell in found.cells) == {
            ("scratch", NCS): 3,
            ("models_genesis", NCS): 3,
            ("scratch", "ncc[data=phantom]"): 1,
        }

    def test_a_method_may_have_a_discovery_of_its_own(self) -> None:
        few = {"name": "semantic_genesis", "label": "few", "discovery": {"classes": 5}}
        found = planned(methods=["semantic_genesis", few], tasks=[NCS])
        assert sorted(job.recipe.settings.classes for job in found.of_kind("patterns")) == [5, 44]
        assert len({job.key for job in found.of_kind("initialisation")}) == 3


class TestLists:
    SPLIT = {"lists": {"train": "train.txt", "test": "test.txt"}, "validation": 1.0}

    def test_a_list_is_known_by_its_ids_wherever_it_lies(
        self, with_card: MakePlan, scans: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "train.txt").write_text("0\n1\n2\n")
        (tmp_path / "test.txt").write_text("5\n4")
        found = with_card(roots={"scans": scans}, splits={"scans": self.SPLIT})
        recipe = next(job.recipe for job in found.of_kind("cell") if "scans" in job.title)
        lists = recipe.task.split.lists
        assert {part: found.lists[digest] for part, digest in lists.items()} == {
            "train": ["0", "1", "2"],
            "test": ["4", "5"],
        }
        (tmp_path / "test.txt").write_text("4\n5\n\n")
        assert cells(with_card(roots={"scans": scans}, splits={"scans": self.SPLIT})) == cells(found)
        (tmp_path / "test.txt").write_text("4\n6\n")
        assert cells(with_card(roots={"scans": scans}, splits={"scans": self.SPLIT})) != cells(found)

    def test_a_list_that_is_not_there_makes_its_cells_missing(self, with_card: MakePlan, scans: Path) -> None:
        found = with_card(roots={"scans": scans}, splits={"scans": self.SPLIT})
        assert {cell.task for cell in found.cells if cell.missing} == {"scans"}
        assert all("test.txt: " in str(cell.missing) for cell in found.cells if cell.missing)

    def test_a_split_by_other_data_knows_their_ids_and_misses_them(
        self, with_card: MakePlan, scans: Path, tmp_path: Path
    ) -> None:
        outside = {"data": "seen", "source": "folder", "config": {"images": "*.nii"}}
        splits = {"scans": {"outside": outside, "train": 0.5, "validation": 0.5}}
        assert all(
            cell.missing for cell in with_card(roots={"scans": scans}, splits=splits).cells if cell.task == "scans"
        )
        (tmp_path / "seen").mkdir()
        for name in "34":
            (tmp_path / "seen" / f"{name}.nii").write_bytes(b"x")
        found = with_card(roots={"scans": scans, "seen": tmp_path / "seen"}, splits=splits)
        recipe = next(job.recipe for job in found.of_kind("cell") if "scans" in job.title)
        assert recipe.task.split.outside
        assert found.lists[recipe.task.split.outside.ids] == ["3", "4"]

    def test_a_corpus_cannot_be_the_training_part_of_folds(self, with_card: MakePlan, scans: Path) -> None:
        with pytest.raises(UsageError, match="tests on other patients for each seed"):
            with_card(
                roots={"scans": scans},
                corpora={"3d": {"task": "scans"}},
                splits={"scans": {"folds": 2, "train": 0.5, "validation": 0.5}},
            )


class TestPending:
    def test_at_first_everything_is(self, workspace: Workspace) -> None:
        found = planned()
        assert found.pending(workspace) == list(found.jobs.values())

    def test_what_is_done_is_not_nor_what_only_that_needs(self, workspace: Workspace) -> None:
        found, ledger = planned(), Ledger(workspace)
        for job in found.of_kind("cell"):
            if "models_genesis" in job.title or "on ncs" in job.title:
                ledger.put(record(job))
        titles = [job.title for job in found.pending(workspace)]
        assert [title for title in titles if "seeds" in title] == [
            f"{method} on {NCC}, seeds 0/{seed}" for method in ("scratch", "semantic_genesis") for seed in (0, 1)
        ]
        assert not [title for title in titles if "models_genesis" in title]

    def test_nothing_is_when_all_cells_are_done_though_what_they_stood_on_is_gone(self, workspace: Workspace) -> None:
        found, ledger = planned(), Ledger(workspace)
        for job in found.of_kind("cell"):
            ledger.put(record(job))
        assert found.pending(workspace) == []

    @pytest.mark.parametrize("kind", ["store", "initialisation", "patterns"])
    def test_a_folder_that_lost_the_file_written_last_is_computed_anew(self, workspace: Workspace, kind: Any) -> None:
        found = planned(methods=["semantic_genesis"], tasks=[NCS])
        job = found.of_kind(kind)[0]
        (workspace.path(FOLDERS[kind], job.key)).mkdir(parents=True)
        assert not is_built(workspace, job)
        assert job in found.pending(workspace)

    def test_what_is_built_is_used(self, workspace: Workspace) -> None:
        found = planned(methods=["semantic_genesis"], tasks=[NCS])
        (patterns,) = found.of_kind("patterns")
        assert not is_built(workspace, patterns)
        with workspace.building("patterns", patterns.key) as folder:
            (folder / "index.json").write_text("{}")
            assert patterns in found.pending(workspace)
        assert is_built(workspace, patterns)
        left = {job.key for job in found.pending(workspace)}
        assert left.isdisjoint([patterns.key, *(job.key for job in found.jobs.values() if "auto-" in job.title)])
        assert left.issuperset(keys(found, "cell") | keys(found, "store"))

    @pytest.mark.parametrize(("kind", "again"), [("method", False), ("infrastructure", True), ("data", True)])
    def test_only_a_method_that_failed_by_itself_is_left_alone(
        self, workspace: Workspace, kind: str, again: bool
    ) -> None:
        found, ledger = planned(methods=["scratch"], tasks=[NCS], fine_tuning_seeds=0), Ledger(workspace)
        (cell,) = found.of_kind("cell")
        ledger.put(record(cell, "failed", kind))
        assert (cell in found.pending(workspace)) == again
        assert cell in found.pending(workspace, retry_failed=True)

    def test_retrying_failures_leaves_what_is_done(self, workspace: Workspace) -> None:
        found, ledger = planned(methods=["scratch"], tasks=[NCS], fine_tuning_seeds=0), Ledger(workspace)
        (cell,) = found.of_kind("cell")
        ledger.put(record(cell))
        assert found.pending(workspace, retry_failed=True) == []


class TestWhyMissing:
    def test_the_changed_field_is_named_with_both_values(self) -> None:
        before, after = planned(tasks=[NCS]), planned(tasks=[NCS], fine_tuning={"batch_size": 3})
        finished = [record(job) for job in before.of_kind("cell")]
        assert why_missing(after.of_kind("cell")[0], finished) == ["task.training.batch_size: 16 -> 3"]

    def test_the_most_similar_cell_is_compared(self) -> None:
        finished = [record(job) for job in planned().of_kind("cell")]
        new = planned(fine_tuning_seeds="7").of_kind("cell")[-1]
        assert why_missing(new, finished) == ["fine_tuning_seed: 0 -> 7"]

    def test_with_nothing_finished_it_says_so(self) -> None:
        assert why_missing(planned().of_kind("cell")[0], []) == ["no finished cell to compare with"]

    def test_a_long_value_is_cut_and_an_absent_one_called_so(self) -> None:
        assert list(differences({"a": None, "b": "x" * 99}, {"a": 1})) == [
            "a: absent -> 1",
            f"b: {'x' * 37}... -> absent",
        ]


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"methods": ["scrath"]}, ["unknown method 'scrath'", "Did you mean 'scratch'"]),
            ({"tasks": ["nccs"]}, ["unknown task 'nccs'", "Did you mean 'ncs'"]),
            ({"corpora": {"3d": {"source": "fantom"}}}, ["unknown source 'fantom'", "Did you mean 'phantom'"]),
            ({"corpora": {"3d": {"config": {"patiens": 3}}}}, ["'patiens'", "Did you mean 'patients'"]),
            ({"methods": [{"name": "scratch", "config": {"widht": 3}}]}, ["method 'scratch'", "Did you mean 'width'"]),
            ({"pretraining": {"crop": 3}}, ["no method has a setting 'crop'", "Did you mean 'crops'"]),
            ({"pretraining": {"training": {"epoch": 3}}}, ["'training.epoch'", "Did you mean 'epochs'"]),
            ({"pretraining": {"transforms": {"shufle": {}}}}, ["'transforms.shufle'", "Did you mean 'shuffle'"]),
            ({"pretraining": {"width": 8}}, ["width is not a setting of methods", "Set the `width` of the suite"]),
            ({"discovery": {"clases": 3}}, ["discovery", "Did you mean 'classes'"]),
            ({"autoencoder": {"shap": 3}}, ["autoencoder", "Did you mean 'shape'"]),
            ({"fine_tuning": {"stps": 3}}, ["fine_tuning", "Did you mean 'steps'"]),
            ({"fine_tuning": {"steps": "abc"}}, ["fine_tuning", "'training.steps' = 'abc'"]),
            ({"pretraining": {"workers": 2}}, ["2 workers", "local backend", "backend=ray"]),
        ],
    )
    def test_a_mistake_is_one_line_with_the_next_step(self, changes: dict[str, Any], parts: list[str]) -> None:
        with pytest.raises(UsageError) as caught:
            planned(**changes)
        reason = str(caught.value)
        assert "\n" not in reason
        assert caught.value.hint
        assert [part for part in parts if part not in reason] == [], reason

    def test_a_typo_in_semantic_genesis_own_transforms_is_one_line_too(self) -> None:
        with pytest.raises(UsageError, match=r"'transforms.shufle'. Did you mean 'shuffle'"):
            planned(methods=[{"name": "semantic_genesis", "config": {"transforms": {"shufle": {}}}}])

    def test_settings_of_methods_that_were_left_out_are_no_mistake(self) -> None:
        assert planned(methods=["scratch"], pretraining={"crops": {}, "semantics": {}}).cells

    def test_workers_are_given_by_ray(self) -> None:
        found = planned(pretraining={"workers": 2}, backend="ray")
        assert {job.workers for job in found.of_kind("initialisation") if "scratch" not in job.title} == {2}

    def test_no_corpus_is_refused_only_where_one_is_needed(self) -> None:
        assert plan(Suite.model_validate({**BASE, "corpora": {}, "methods": ["scratch"]})).cells
        with pytest.raises(UsageError, match="names no 3d corpus"):
            plan(Suite.model_validate({**BASE, "corpora": {}}))

    def test_two_cards_of_one_name_are_refused(self, with_card: MakePlan, scans: Path) -> None:
        with pytest.raises(UsageError, match="two tasks 'ncs'"):
            with_card({"name": "ncs"}, {"scans": scans}, tasks=["card.yaml", "ncs"])

    def test_one_variant_written_twice_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"two tasks 'ncs\[data=phantom,steps=3\]'"):
            planned(tasks=["ncs[data=phantom,steps=3]", "ncs[steps=3,data=phantom]"])

    @pytest.mark.parametrize("change", [{"headline": "dice_cse"}, {"headline": "auc"}, {"parity": "auc"}])
    def test_a_metric_of_no_such_name_or_of_another_kind_is_refused(
        self, with_card: MakePlan, scans: Path, change: dict[str, Any]
    ) -> None:
        (metric,) = change.values()
        with pytest.raises(UsageError, match=f"task 'scans': .* = '{metric}' is no segmentation metric"):
            with_card(change, {"scans": scans})

    def test_a_folder_for_data_that_the_suite_lacks_suggests_the_nearest(self, with_card: MakePlan) -> None:
        with pytest.raises(UsageError, match="Did you mean 'scans'"):
            with_card(roots={"scns": Path()})

    def test_a_folder_for_a_source_that_reads_none_is_refused(self) -> None:
        with pytest.raises(UsageError, match="'phantom' reads no folder"):
            plan(Suite.model_validate(BASE), {"phantom": Path()})


class TestSize:
    def test_more_cells_than_anybody_computes_are_refused_at_once(self) -> None:
        with pytest.raises(UsageError, match=r"asks for 200,000 cells, which is more than 100,000"):
            planned(methods=["scratch", "models_genesis"], tasks=[NCS], fine_tuning_seeds=list(range(100_000)))

    def test_a_thousand_cells_take_well_under_a_second_of_the_processor(self) -> None:
        planned(methods=["scratch"], tasks=[NCS])  # what is imported once
        started = time.process_time()
        found = planned(methods=["scratch", "models_genesis"], tasks=[NCS], fine_tuning_seeds=list(range(500)))
        assert len(set(keys(found, "cell"))) == 1000
        assert time.process_time() - started < 1

    def test_the_precision_of_a_suite_is_that_of_all_its_trainings(self) -> None:
        found = planned(methods=["semantic_genesis"], tasks=[NCS], precision="bfloat16")
        chosen = {job.recipe.config.training.precision for job in found.of_kind("initialisation")}
        chosen |= {job.recipe.task.training.precision for job in found.of_kind("cell")}
        assert chosen == {"bfloat16"}
        assert methods_changed(planned(methods=["scratch"]), planned(methods=["scratch"], precision="float32")) == set()
