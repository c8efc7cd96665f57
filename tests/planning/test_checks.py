"""What does not fit is told when a suite is planned, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from sg_bench.config import CropRule, Preparation, Split
from sg_bench.data.contents import empty_masks, label_counts, label_problems
from sg_bench.data.sources.base import Case
from sg_bench.errors import DataError, UsageError
from sg_bench.planning import open_source
from sg_bench.planning.checks import (
    check_crops,
    check_label_values,
    check_lists,
    check_parts,
    settings_without_effect,
)
from sg_bench.registry import SOURCES
from sg_bench.tasks import Task

SPLIT = Split(train=0.5, validation=0.25, test=0.25)
CARD: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "kind": "segmentation",
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
    "data": {"name": "mine", "source": "folder", "config": {"images": "images/*", "labels": "labels/{id}.nii"}},
    "sampling": {"places": "foreground", "patch": [16, 16, 8]},
}
OF_IMAGES: dict[str, Any] = {
    **{key: CARD[key] for key in ("name", "title", "data")},
    "sampling": {"places": "image", "patch": [32, 32, 16]},
    "inference": {"mode": "image"},
    "kind": "classification",
    "loss": "bce",
    "headline": "auc",
    "label": "class",
    "classes": ["benign", "malignant"],
}


def cases(classes: str = "", findings: str = "") -> list[Case]:
    texts: list[dict[str, str | float]] = [
        {"class": {"b": "benign", "m": "malignant"}.get(letter, letter)} for letter in classes
    ]
    marks: list[dict[str, str | float]] = [{"sick": float(letter)} for letter in findings]
    return [Case(f"p{n}", f"p{n}", attributes=each) for n, each in enumerate(texts or marks or [{}] * 8)]


def task(**changes: Any) -> Task:
    return Task.model_validate({**CARD, **changes})


def save(folder: Path, values: list[int], side: int = 24) -> Any:
    for number, value in enumerate(values):
        image = np.random.default_rng(number).normal(100, 9, (side, side, side)).astype(np.float32)
        for name, array in (("images", image), ("labels", ((image > 100) * value).astype(np.uint8))):
            (folder / name).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / name / f"p{number}.nii")
    return open_source("folder", SOURCES.config("folder")(**CARD["data"]["config"]), folder, "mine")


class TestLists:
    def test_an_entry_that_names_no_case_is_told_with_file_and_line(self, tmp_path: Path) -> None:
        for name, text in (("train", "p0\np1"), ("validation", "p2"), ("test", "p3\n\np44\nq")):
            (tmp_path / name).write_text(text)
        split = Split(lists={"train": "train", "validation": "validation", "test": "test"})
        wanted = r"test, line 3: 'p44' and 1 more entries of the test list names no case.*'mine'.*Did you mean 'p4'"
        with pytest.raises(UsageError, match=wanted):
            check_lists(split, tmp_path, cases(), "mine")
        (tmp_path / "test").write_text("p3.nii.gz\n")
        check_lists(split, tmp_path, cases(), "mine")


class TestParts:
    def test_too_few_patients_for_parts_or_folds(self) -> None:
        with pytest.raises(DataError, match="2 patients cannot fill 3 parts"):
            check_parts(task(), SPLIT, cases()[:2], {}, [0])
        folds = Split(folds=9, train=0.5, validation=0.5)
        with pytest.raises(DataError, match="8 patients cannot fill 9 parts"):
            check_parts(task(), folds, cases(), {}, [0])

    def test_a_test_part_of_one_class_is_refused(self) -> None:
        split = Split(numbers={"train": (0, 3), "validation": (4, 5), "test": (6, 7)})
        of_class = Task.model_validate(OF_IMAGES)
        with pytest.raises(DataError, match="the test part is of one class: class = benign in all its 2 cases"):
            check_parts(of_class, split, cases("bmbmbmbb"), {}, [0])
        assert check_parts(of_class, split, cases("bmbmbmbm"), {}, [0]) == []

    def test_a_class_that_no_card_names_and_a_column_that_is_not_there_are_refused(self) -> None:
        of_class = Task.model_validate(OF_IMAGES)
        with pytest.raises(DataError, match=r"class = 'x' in the table is none of the card's classes"):
            check_parts(of_class, SPLIT, cases("bxbmbmbm"), {}, [0])
        with pytest.raises(DataError, match="no case has the column 'class'"):
            check_parts(of_class, SPLIT, cases(), {}, [0])

    def test_a_finding_that_no_test_case_has_is_refused(self) -> None:
        findings = {key: OF_IMAGES[key] for key in OF_IMAGES if key not in ("label", "classes")}
        split = Split(numbers={"train": (0, 3), "validation": (4, 5), "test": (6, 7)})
        of_findings = Task.model_validate({**findings, "findings": ["sick"]})
        with pytest.raises(DataError, match="the test part is of one class: sick = 0"):
            check_parts(of_findings, split, cases(findings="10101000"), {}, [0])


class TestCrops:
    def test_crops_that_fit_into_no_volume_are_refused_by_headers_alone(self, tmp_path: Path) -> None:
        source = save(tmp_path, [1])
        for cube, spacing in (((64, 64, 32), None), ((24, 24, 24), (2, 2, 2))):
            rule = CropRule(cube=cube, border=(0, 0, 0), air=None)
            preparation = Preparation(intensity="minmax", spacing=spacing)
            with pytest.raises(DataError, match="fit into none of its volumes, of which the largest is"):
                check_crops(rule, source, source.cases, preparation, "pretraining", "Set it")
        fits = CropRule(cube=(24, 24, 24), border=(0, 0, 0), air=None)
        check_crops(fits, source, source.cases, Preparation(intensity="minmax"), "pretraining", "Set it")


class TestLabelValues:
    def test_masks_of_0_and_255_are_refused_for_a_target_of_1(self, tmp_path: Path) -> None:
        source = save(tmp_path, [255, 255])
        with pytest.raises(DataError, match="label value 1 in none of 2 label maps, which hold 255"):
            check_label_values(task(), source, source.cases)

    def test_reading_ends_once_each_class_was_found(self, tmp_path: Path) -> None:
        source = save(tmp_path, [1, 2, 3, 4])
        named = task(target=[], classes={1: "a", 2: "b"}, headline="dice_mean")
        assert check_label_values(named, source, source.cases) == []

    def test_a_value_that_no_class_names_is_a_warning(self) -> None:
        (line,) = label_problems({"": (1,)}, {1, 2}, 3, 9)
        assert line == "label value 2 in the label maps, but not in the card: it counts as background"
        (line,) = label_problems({"a": (1,), "b": (2, 3)}, {1}, 3, 9)
        assert line == "label values 2, 3 (b) in none of 3 label maps that were read, which hold 1"

    def test_empty_masks_of_the_test_part_are_a_warning(self) -> None:
        counts = {"a": {1: 9}, "b": {}, "c": {1: 4}, "d": {}}
        lines = empty_masks({"": (1,)}, counts, {"train": ["a"], "validation": [], "test": ["b", "c"]})
        assert lines == ["1 of 2 test cases show nothing of the target (b): there, predicting nothing is perfect"]
        lines = empty_masks({"x": (1,)}, counts, {"train": ["b"], "validation": [], "test": ["d"]})
        assert lines == [
            "no train case shows 'x': it cannot be learnt",
            "no test case shows 'x': its score rewards silence",
        ]
        assert label_counts(np.array([0, 0, 2, 2, 7], np.uint8)) == {2: 2, 7: 1}
        assert label_counts(None) == {}


def test_settings_without_effect_are_named_for_a_users_card_alone() -> None:
    found = task(sampling={"places": "foreground", "patch": [16, 16, 8], "shift": 3}, inference={"overlap": 0.25})
    assert settings_without_effect(found) == [
        "`inference.overlap` has no effect here",
        "`sampling.shift` has no effect here",
    ]
    assert settings_without_effect(task()) == []
    assert settings_without_effect(found.model_copy(update={"name": "ncs"})) == []
