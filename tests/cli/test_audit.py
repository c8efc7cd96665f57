"""`sg-bench audit` finds the test cases that a corpus holds, and says what it could not compare."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from sg_bench.cli.selection import select
from sg_bench.config import Split
from sg_bench.data.splits import assign
from sg_bench.running.stages.dispatch import execute
from sg_bench.workspace import Workspace
from tests.cli.conftest import Ask

CARD: dict[str, Any] = {
    "name": "scans",
    "title": "Scans",
    "kind": "segmentation",
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
    "data": {"name": "scans", "source": "folder", "config": {"labels": "labels/{id}.nii"}},
    "preparation": {"intensity": "minmax"},
    "split": {"numbers": {"train": [0, 1], "validation": [2, 2], "test": [3, 5]}},
    "sampling": {"places": "foreground", "patch": [16, 16, 8]},
}
CORPUS: dict[str, Any] = {
    "name": "seen",
    "source": "folder",
    "config": {"images": "*.nii"},
    "preparation": {"intensity": "percentiles", "clip": [1, 99], "spacing": [2, 2, 2]},
    "validation": 0.5,
    "pretraining": {"crops": {"cube": [8, 8, 8], "border": [0, 0, 0], "air": None}},
}
SUITE = {"corpora": {"3d": CORPUS}, "methods": ["models_genesis"], "tasks": ["card.yaml"]}
FOLDS = Split(folds=2, train=0.5, validation=0.5)
WHERE = ["--suite", "mine.yaml", "--data", "scans=scans", "--data", "seen=seen"]


def body(seed: int) -> np.ndarray:
    image = np.random.default_rng(seed).random((48, 48, 40))
    for axis in range(3):
        image = np.sum([np.roll(image, step, axis) for step in range(-4, 5)], axis=0)
    return np.round(image).astype(np.int16)


def save(path: str, array: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def suite(**changes: Any) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({**SUITE, **changes}))


def prepare(where: list[str] = WHERE) -> None:
    """Make every store that the suite plans."""
    planned = select("mine.yaml", data=where[3::2]).plan
    for job in planned.of_kind("store"):
        execute(job, Workspace.default(), lambda *_: None)


def rows(corpus: str = "seen", part: str = "test") -> list[dict[str, str]]:
    with Path("results/mine/tables/leakage.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if (row["corpus"], row["part"]) == (corpus, part)]


def turned(array: np.ndarray) -> np.ndarray:
    """Return a copy with two axes swapped and one mirrored, under the same header."""
    return np.ascontiguousarray(array.transpose(1, 0, 2)[::-1])


@pytest.fixture
def ask(ask: Ask) -> Ask:
    """Return a function that audits, in a folder with six labelled scans, a corpus of two others, and a suite."""
    for number in range(6):
        save(f"scans/images/scan{number}.nii", body(number))
        save(f"scans/labels/scan{number}.nii", (body(number) > body(number).mean()).astype(np.uint8))
    for number in (10, 11):
        save(f"seen/other{number}.nii", body(number))
    Path("card.yaml").write_text(yaml.safe_dump(CARD))
    suite()

    return lambda *arguments: ask("audit", *(arguments or WHERE))


class TestByNames:
    def test_the_demo_is_clean_by_names_before_its_images_are_prepared(self, ask: Ask) -> None:
        code, out, _ = ask("--suite", "demo-all")
        assert code == 3
        assert "so only ids and patients are compared" in out
        assert "| names -, images ? ¹" in out
        assert "|     - |" not in out
        assert "test cases (" not in out

    def test_the_training_part_of_a_task_holds_none_of_its_test_cases(self, ask: Ask) -> None:
        suite(corpora={"3d": {"task": "scans", "validation": 0.5, "pretraining": CORPUS["pretraining"]}})
        code, out, _ = ask(*WHERE[:4])
        assert code == 3
        assert "training part of scans | names -, images ?" in out
        prepare(WHERE[:4])
        code, out, _ = ask(*WHERE[:4])
        assert code == 0
        assert "names" not in out.partition("\n\n-: compared")[0]
        assert [row["leaking"] for row in rows("training part of scans")] == ["0"]

    def test_a_corpus_of_the_very_same_files_holds_them_all(self, ask: Ask) -> None:
        suite(corpora={"3d": {**CORPUS, "config": CARD["data"]["config"]}})
        code, out, _ = ask(*WHERE[:4], "--data", "seen=scans")
        assert code == 4
        assert "3/3 (3 id, 3 patient)" in out
        assert "scans: the corpus seen holds 3 of 3 test cases (3 by id), such as scan3, scan4, scan5" in out

    def test_what_the_corpus_leaves_out_is_not_seen(self, ask: Ask) -> None:
        split = {"numbers": {"train": [0, 1], "validation": [2, 3], "test": [4, 5]}}
        suite(corpora={"3d": {**CORPUS, "config": CARD["data"]["config"], "split": split}})
        code, out, _ = ask(*WHERE[:4], "--data", "seen=scans")
        assert code == 4
        assert "1/3 (1 id, 1 patient)" in out
        assert "such as scan3\n" in out

    def test_the_test_cases_of_every_fold_are_compared(self, ask: Ask) -> None:
        split = {"folds": 3, "train": 0.5, "validation": 0.5}
        suite(corpora={"3d": {**CORPUS, "config": CARD["data"]["config"]}}, splits={"scans": split})
        code, out, _ = ask(*WHERE[:4], "--data", "seen=scans")
        assert code == 4
        assert "6/6 (6 id, 6 patient)" in out


class TestByContent:
    def test_a_copy_under_another_name_and_preparation_is_found(self, ask: Ask) -> None:
        save("seen/strange.nii", body(4))
        prepare()
        code, out, _ = ask()
        assert code == 4
        assert "1/3 (1 content)" in out
        assert "scans: the corpus seen holds 1 of 3 test cases (1 by content), such as scan4" in out
        (row,) = rows()
        assert (row["corpus"], row["task"], row["tested"], row["leaking"]) == ("seen", "scans", "3", "1")
        assert (row["content"], row["names_compared"], row["images_compared"], row["why"]) == ("1", "0", "3", "")

    def test_other_images_are_clean_and_nothing_is_left_to_say(self, ask: Ask) -> None:
        prepare()
        code, out, _ = ask()
        assert code == 0
        assert "| seen              |" in out
        assert "not prepared" not in out
        assert "?" not in out.partition("compared, and no")[0].partition("corpus")[2]

    def test_without_stores_nothing_can_be_said_of_folders(self, ask: Ask) -> None:
        code, out, _ = ask()
        assert code == 3
        assert "| ? ¹ ²" in out
        assert "scans: its images are not prepared, so its parts are not compared by content" in out
        assert "¹ seen: its images are not prepared" in out

    def test_a_case_that_could_not_be_prepared_keeps_its_place_and_is_not_compared(self, ask: Ask) -> None:
        save("scans/images/scan5.nii", np.zeros((48, 48, 40), np.int16))  # constant: no window to scale it by
        suite(corpora={"3d": {**CORPUS, "config": CARD["data"]["config"]}})
        where = [*WHERE[:4], "--data", "seen=scans"]
        prepare(where)
        code, out, _ = ask(*where)
        assert code == 4
        assert "2/2 (2 id, 2 patient, 2 content)" in out


class TestTrainingAgainstTest:
    def test_one_scan_under_two_ids_is_found_even_if_it_is_turned(self, ask: Ask) -> None:
        save("scans/images/scan4.nii", turned(body(0)))
        save("scans/labels/scan4.nii", np.ones((48, 48, 40), np.uint8))
        suite(corpora={}, methods=["scratch"])
        prepare(WHERE[:4])
        code, out, _ = ask(*WHERE[:4])
        assert code == 4
        assert "scans: the training part holds 1 of 3 test cases (1 by content), such as scan4" in out
        assert rows("own training part")[0]["content"] == "1"

    def test_only_the_folds_that_divide_the_two_count(self, ask: Ask) -> None:
        save("scans/images/scan4.nii", body(0))
        suite(corpora={}, methods=["scratch"], splits={"scans": FOLDS.model_dump(exclude_unset=True)})
        prepare(WHERE[:4])
        code, out, _ = ask(*WHERE[:4])
        parts = [assign([(f"scan{n}", f"scan{n}") for n in range(6)], FOLDS, fold=fold) for fold in (0, 1)]
        apart = not any({"scan0", "scan4"} <= {*each["test"]} for each in parts)
        assert (code, "holds 2 of 6 test cases (2 by content), such as scan0, scan4" in out) == (
            4 if apart else 0,
            apart,
        )

    def test_a_corpus_of_training_cases_is_no_leak_but_is_counted(self, ask: Ask) -> None:
        save("seen/strange.nii", body(1))
        prepare()
        code, out, _ = ask()
        assert code == 0
        assert "train 1/2 (1 content), validation -" in out
        assert [row["content"] for row in rows(part="train")] == ["1"]

    def test_images_without_a_fingerprint_are_named_and_only_exact_copies_found(self, ask: Ask) -> None:
        for number in range(6):
            save(f"scans/images/scan{number}.nii", body(number % 4)[:6])
            save(f"scans/labels/scan{number}.nii", np.ones((6, 48, 40), np.uint8))
        suite(corpora={}, methods=["scratch"])
        prepare(WHERE[:4])
        code, out, _ = ask(*WHERE[:4])
        assert code == 4
        assert "2/3 (2 content)" in out
        assert (
            "6 images are too small or too uniform to be recognised, only exact copies are (scan0, scan1, scan2)" in out
        )


class TestWhatIsMissing:
    def test_absent_data_are_named_and_the_code_is_3(self, ask: Ask) -> None:
        code, out, _ = ask(*WHERE[:4])
        assert code == 3
        assert "seen: no folder given for the data 'seen'. Add --data seen=PATH" in out
        (row,) = rows()
        assert (row["leaking"], row["tested"]) == ("", "")

    def test_a_corpus_that_nothing_pretrains_on_is_said_to_be_so(self, ask: Ask) -> None:
        suite(methods=["scratch"])
        code, out, _ = ask()
        assert code == 3
        assert "seen: no 3d method of the plan pretrains on it" in out

    def test_a_test_part_that_is_empty_is_told(self, ask: Ask) -> None:
        suite(splits={"scans": {"numbers": {"test": [50, 60]}, "train": 0.5, "validation": 0.5}})
        code, out, _ = ask()
        assert code == 3
        assert "the test part is empty: no case's id ends in a number from 50 to 60" in out


def test_the_matrix_is_written_with_the_other_tables(ask: Ask) -> None:
    _, out, _ = ask(*WHERE, "--out", "here")
    assert "Audit: here/tables/leakage.md" in out
    assert Path("here/tables/leakage.md").read_text().rstrip() == out.rpartition("Audit:")[0].rstrip()
    assert Path("here/tables/leakage.csv").read_text().startswith("corpus,task,tested,leaking,")


def test_its_exit_codes_are_told_by_the_help(ask: Ask) -> None:
    assert "Exit code 4 if a corpus holds test cases" in " ".join(ask("--help")[1].split())
