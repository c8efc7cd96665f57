"""Every number leads back to its seeds, settings, digests, code and machine."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sg_bench.config import key_of, merged
from sg_bench.digests import read_sealed
from sg_bench.errors import UsageError
from sg_bench.ledger import Ledger
from sg_bench.reporting.explain import Section, as_text, find_cells, read_and_explain
from sg_bench.reporting.folders import read_evidence
from sg_bench.workspace import Workspace, file_digest, write_json

STORED = json.loads((Path(__file__).parents[1] / "historic_records" / "schema_1_done.json").read_text())


def record(method: str = "semantic_genesis", pretraining: int = 0, fine_tuning: int = 0, **changes: Any) -> Any:
    """Return a finished record with these seeds, and its own key."""
    seeds = {"pretraining_seed": pretraining, "fine_tuning_seed": fine_tuning}
    initialisation = {"initialisation": {"method": method, "seed": pretraining}}
    recipe = merged(copy.deepcopy(STORED["recipe"]), seeds, initialisation, changes)
    return {**copy.deepcopy(STORED), "recipe": recipe, "key": key_of(recipe)}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a workspace of two methods, two pretrainings of one of them, and a failure."""
    ledger = Ledger(Workspace(tmp_path))
    for pretraining in (0, 1):
        for fine_tuning in (0, 1):
            ledger.put(record(pretraining=pretraining, fine_tuning=fine_tuning))
    broken = record("scratch")
    error = {"kind": "method", "type": "MethodError", "message": "the loss is nan", "traceback": ""}
    ledger.put({name: broken[name] for name in ("key", "recipe")} | {"status": "failed", "error": error})
    return tmp_path


def lines(sections: list[Section], title: str) -> dict[str, str]:
    (section,) = (section for section in sections if section.title.startswith(title))
    return dict(section.lines)


class TestCell:
    def test_a_cell_tells_its_seeds_scores_and_key(self, work: Path) -> None:
        sections = read_and_explain(work, "semantic_genesis/ncs/1/0")
        cell = lines(sections, "Cell")
        assert (cell["pretraining seed"], cell["fine-tuning seed"], cell["status"]) == ("1", "0", "done")
        assert cell["key"] == f"{record(pretraining=1)['key']} (the SHA-256 of the recipe below)"
        assert lines(sections, "Scores")["mean_iou_keras"].endswith("papers' metric")
        assert lines(sections, "Scores")["iou_bin"].startswith("12.10 %")

    def test_a_secondary_metric_is_marked_wherever_scores_are_listed(self, tmp_path: Path) -> None:
        for seed in (0, 1):
            Ledger(Workspace(tmp_path)).put({**record(fine_tuning=seed), "secondary": ["dice_positive"]})
        shown = lines(read_and_explain(tmp_path, "semantic_genesis/ncs/0/0"), "Scores")
        assert shown["dice_positive"].endswith("secondary")
        group = read_and_explain(tmp_path, "semantic_genesis/ncs")
        assert "mean 19.75 % of 2 runs" in lines(group, "semantic_genesis on ncs")["dice_positive"]
        assert "iou_bin 12.10 %  dice_positive 19.75 %  mean_iou_keras" in lines(group, "Runs")["0/0"]

    def test_a_cell_that_was_scored_again_tells_what_it_was_before(self, tmp_path: Path) -> None:
        ledger, first = Ledger(Workspace(tmp_path)), record()
        ledger.put(first)
        ledger.rescore(first["key"], {**first["metrics"], "iou_bin": 0.5}, first["cases"], "9.9")
        shown = lines(read_and_explain(tmp_path, "semantic_genesis/ncs/0/0"), "Scores")
        assert shown["iou_bin"].startswith("50.00 %")
        assert shown["scored again by 9.9"] == "iou_bin was 12.10 % before"

    def test_every_setting_of_the_chain_is_there_once(self, work: Path) -> None:
        sections = read_and_explain(work, "semantic_genesis/ncs/0/0")
        recipe = STORED["recipe"]
        assert lines(sections, "Task")["split.train"] == "0.5"
        store = lines(sections, "Target data")
        assert store["manifest.sha256"] == recipe["store"]["manifest"]["sha256"]
        assert lines(sections, "Initialisation (")["config.semantics.warm_up_epochs"] == "4"
        assert lines(sections, "Patterns")["classes"] == "12"
        assert lines(sections, "Auto-encoder")["config.skips"] == "True"
        assert lines(sections, "Corpus of the pretraining")["validation"] == "0.17"
        assert not [section for section in sections if section.title.startswith("Corpus of the discovery")]

    def test_a_part_is_headed_by_the_key_under_which_the_workspace_has_it(self, work: Path) -> None:
        titles = [section.title for section in read_and_explain(work, "semantic_genesis/ncs/0/0")]
        recipe = record()["recipe"]
        assert f"Target data ({key_of(recipe['store'])})" in titles
        assert f"Initialisation ({key_of(recipe['initialisation'])})" in titles
        assert f"Patterns ({key_of(recipe['initialisation']['patterns'])})" in titles

    def test_code_machine_time_and_memory_are_told(self, work: Path) -> None:
        ran = lines(read_and_explain(work, "semantic_genesis/ncs/0/0"), "Ran")
        assert {"git.commit", "software.torch", "hardware.processor", "wall_seconds", "peak_memory_mib"} <= ran.keys()

    def test_a_failed_cell_tells_its_error(self, work: Path) -> None:
        sections = read_and_explain(work, "scratch/ncs/0/0")
        assert lines(sections, "Cell")["status"] == "failed"
        assert lines(sections, "Error") == {
            "kind": "method",
            "type": "MethodError",
            "message": "the loss is nan",
            "traceback": "",
        }

    def test_a_record_that_was_edited_is_found_out(self, work: Path) -> None:
        path = work / "cells" / f"{record()['key']}.json"
        edited = read_sealed(path)  # written back without a digest of its content
        edited["recipe"]["task"]["training"]["steps"] = 21
        write_json(path, edited)
        key = lines(read_and_explain(work, record()["key"]), "Cell")["key"]
        assert key.endswith("(NOT the SHA-256 of the recipe below)")

    def test_another_outcome_of_the_cell_is_named(self, work: Path) -> None:
        Ledger(Workspace(work)).put({**record(), "metrics": {"iou_bin": 0.9}})
        (name,) = lines(read_and_explain(work, "semantic_genesis/ncs/0/0"), "Conflicts")
        assert name.startswith(f"cells/{record()['key']}.conflict-")


class TestOutputs:
    def test_predictions_are_checked_against_their_digest(self, work: Path) -> None:
        path = work / "predictions" / f"{record()['key']}.npz"
        for content, said in ((None, "no such file here"), (b"x", "THE FILE HERE DIFFERS")):
            if content:
                path.parent.mkdir()
                path.write_bytes(content)
            outputs = lines(read_and_explain(work, "semantic_genesis/ncs/0/0"), "Outputs")
            assert said in outputs["predictions"]
        fresh = record(fine_tuning=7)
        path = path.with_name(f"{fresh['key']}.npz")
        path.write_bytes(b"y")
        fresh["outputs"]["predictions"] = file_digest(path)
        Ledger(Workspace(work)).put(fresh)
        assert "the same" in lines(read_and_explain(work, fresh["key"]), "Outputs")["predictions"]

    @pytest.mark.parametrize(
        ("digest", "said"), [(STORED["outputs"]["initialisation"], "(those"), ("00", "(NOT those")]
    )
    def test_the_initialisations_own_record_is_read(self, work: Path, digest: str, said: str) -> None:
        initialisation = record()["recipe"]["initialisation"]
        folder = work / "initialisations" / key_of(initialisation)
        epoch = {"stage": "joint", "step": 100, "train": {"loss": 0.25}, "validation": {"loss": 0.5}}
        own = {"curves": [epoch], "ran": {"wall_seconds": 9.7}, "schema": 1, "outputs": {"initialisation": digest}}
        write_json(folder / "record.json", {"recipe": initialisation, **own})
        shown = lines(read_and_explain(work, "semantic_genesis/ncs/0/0"), "Initialisation's own record")
        assert shown["weights"].startswith(f"file:{digest} {said}")
        assert (shown["last loss.validation.loss"], shown["ran.wall_seconds"]) == ("0.5", "9.7")

    def test_a_results_folder_has_no_such_record_and_says_so(self, work: Path) -> None:
        shown = lines(read_and_explain(work, "semantic_genesis/ncs/0/0"), "Initialisation's own record")
        assert shown["record.json"].startswith("not here")


class TestGroup:
    def test_a_method_on_a_task_is_all_its_runs(self, work: Path) -> None:
        sections = read_and_explain(work, "semantic_genesis/ncs")
        assert sections[0].title == "semantic_genesis on ncs: 4 runs"
        assert "4 runs (2 independent: pretraining seeds)" in lines(sections, "semantic_genesis on")["iou_bin"]
        assert list(lines(sections, "Runs")) == ["0/0", "0/1", "1/0", "1/1"]

    def test_what_the_runs_do_not_share_shows_each_value(self, work: Path) -> None:
        sections = read_and_explain(work, "semantic_genesis/ncs")
        assert lines(sections, "Initialisation")["seed"] == "0 (2 x), 1 (2 x)"
        assert lines(sections, "Initialisation")["method"] == "semantic_genesis"

    def test_one_pretraining_speaks_of_its_checkpoint_alone(self, tmp_path: Path) -> None:
        for seed in (0, 1):
            Ledger(Workspace(tmp_path)).put(record(fine_tuning=seed))
        shown = lines(read_and_explain(tmp_path, "semantic_genesis/ncs"), "semantic_genesis on")
        assert "about this checkpoint only" in shown["iou_bin"]


class TestNames:
    def test_six_digits_of_a_key_are_enough_and_five_are_not(self, work: Path) -> None:
        evidence = read_evidence(work)
        assert [cell.key for cell in find_cells(evidence, record()["key"][:6])] == [record()["key"]]
        with pytest.raises(UsageError, match="Write 6 or more digits"):
            find_cells(evidence, record()["key"][:5])

    def test_a_key_that_is_not_there_is_refused_with_the_nearest(self, work: Path) -> None:
        key = record()["key"]
        wrong = key[:7] + ("0" if key[7] != "0" else "1")
        with pytest.raises(UsageError, match=f"no cell's key starts with {wrong}. Did you mean '{key[:8]}'"):
            find_cells(read_evidence(work), wrong)

    def test_digits_that_several_keys_begin_with_are_refused_with_longer_ones(self, work: Path) -> None:
        evidence = read_evidence(work)
        twin = {**record(), "key": record()["key"][:8] + "f" * 56}
        cells = [*evidence.cells, type(evidence.cells[0])(twin["key"], "m", "t", 0, 0)]  # type: ignore[call-arg]
        doubled = type(evidence)(cells, {**evidence.records, twin["key"]: twin})
        with pytest.raises(UsageError, match="2 cells' keys start with"):
            find_cells(doubled, record()["key"][:8])

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("semantic_genesi/ncs", "Did you mean 'semantic_genesis/ncs'"),
            ("semantic_genesis/ncs/0/9", "Did you mean 'semantic_genesis/ncs/0/"),
            ("semantic_genesis", "'semantic_genesis' names no cell"),
            ("nothing/like/it", "Known: scratch/ncs, semantic_genesis/ncs"),
        ],
    )
    def test_an_unknown_name_is_refused_with_what_there_is(self, work: Path, name: str, shown: str) -> None:
        with pytest.raises(UsageError, match=shown):
            find_cells(read_evidence(work), name)

    def test_a_folder_without_cells_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no cells here"):
            read_evidence(tmp_path)


class TestSeveralResultsOfOneName:
    def labels(self, work: Path, name: str) -> set[str]:
        return {f"{cell.method}/{cell.task}" for cell in find_cells(read_evidence(work), name)}

    def test_a_bare_name_means_the_fine_tuned_cells_where_there_are_probes(self, work: Path) -> None:
        Ledger(Workspace(work)).put(record(task={"probe": "linear"}))
        (label,) = self.labels(work, "semantic_genesis/ncs")
        assert len(find_cells(read_evidence(work), "semantic_genesis/ncs")) == 4
        (probe,) = {f"{c.method}/{c.task}" for c in read_evidence(work).cells} - {label, f"scratch{label[16:]}"}
        assert self.labels(work, probe) == {probe}
        assert [cell.fine_tuning_seed for cell in find_cells(read_evidence(work), "semantic_genesis/ncs/1/1")] == [1]

    def test_another_budget_is_refused_with_the_labels_and_what_distinguishes_them(self, work: Path) -> None:
        Ledger(Workspace(work)).put(record(task={"training": {"steps": 77}}))
        with pytest.raises(UsageError, match="'semantic_genesis/ncs' is 2 results") as caught:
            find_cells(read_evidence(work), "semantic_genesis/ncs")
        shown = re.findall(r"(semantic_genesis/ncs#\w{6}) \(task.training.steps (\d+)\)", str(caught.value))
        assert {steps for _, steps in shown} == {"77", str(record()["recipe"]["task"]["training"]["steps"])}
        assert all(self.labels(work, label) == {label} for label, _ in shown)

    def test_a_label_with_digits_of_a_method_is_found_by_its_task(self, work: Path) -> None:
        Ledger(Workspace(work)).put(record(fine_tuning=5, initialisation={"config": {"width": 8}}))
        with pytest.raises(UsageError, match=r"initialisation.config.width 8"):
            find_cells(read_evidence(work), "semantic_genesis/ncs")
        assert self.labels(work, "semantic_genesis/ncs/0/5") < {
            f"{c.method}/{c.task}" for c in read_evidence(work).cells
        }


class TestFolders:
    def test_one_name_for_two_recipes_is_told_apart_by_digits(self, work: Path) -> None:
        Ledger(Workspace(work)).put(record(fine_tuning=5, initialisation={"config": {"width": 8}}))
        methods = {cell.method for cell in read_evidence(work).cells}
        assert "scratch" in methods
        assert len(methods) == 3
        assert all(name == "scratch" or name.startswith("semantic_genesis#") for name in methods)

    def test_a_method_in_2d_and_in_3d_is_one_name_until_it_has_two_recipes_in_one_of_them(self, tmp_path: Path) -> None:
        ledger = Ledger(Workspace(tmp_path))
        flat: dict[str, Any] = {"task": {"name": "dxc"}, "initialisation": {"config": {"dimension": 2}}}
        for made in (record(), record(**flat)):
            ledger.put(made)
        assert read_evidence(tmp_path).methods == ["semantic_genesis"]
        ledger.put(record(**merged(flat, {"initialisation": {"config": {"width": 9}}})))
        assert {method[:17] for method in read_evidence(tmp_path).methods} == {"semantic_genesis#"}

    def test_a_results_folder_keeps_the_suites_labels(self, work: Path) -> None:
        table = work / "tables" / "scores.csv"
        table.parent.mkdir()
        head = "key,method,task,pretraining_seed,fine_tuning_seed,iou_bin"
        table.write_text(f'{head}\n{record()["key"]},mine,"ncs[steps=20,data=phantom]",0,0,0.5\n')
        evidence = read_evidence(work)
        (cell,) = find_cells(evidence, "mine/ncs")
        assert (cell.task, cell.key) == ("ncs[steps=20,data=phantom]", record()["key"])


def test_the_text_is_plain_lines_and_the_same_each_time(work: Path) -> None:
    texts = {as_text(read_and_explain(work, "semantic_genesis/ncs/0/0")) for _ in range(3)}
    (text,) = texts
    assert text.startswith("Cell\n  method")
    assert text.endswith("\n")
    assert all(line == line.rstrip() for line in text.splitlines())
