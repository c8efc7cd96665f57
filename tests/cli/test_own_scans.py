"""From a folder to a table: `data init`, `new task`, and the commands of docs/own-scans.md."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from sg_bench.tasks import read_task
from tests.cli.conftest import Answer, Ask

GUIDE = Path(__file__).parents[2] / "docs" / "own-scans.md"


def volumes(images: str, labels: str = "", *, count: int = 8, shape: tuple[int, ...] = (24, 24, 16)) -> None:
    """Write volumes with a ball of label 1 and a smaller one of label 2; {} is their number."""
    for number in range(count):
        random = np.random.default_rng(number)
        grid = np.indices(shape[:3]) - np.array([side / 2 for side in shape[:3]])[:, None, None, None]
        distance = np.sqrt((grid**2).sum(axis=0))
        label = ((distance < 6).astype(np.uint8) + (distance < 3)).astype(np.uint8)
        image = (100 + 60 * label + random.normal(0, 9, shape[:3])).astype(np.float32)
        for pattern, array in ((images, image), (labels, label)):
            path = Path(pattern.format(f"{number:02d}"))
            if pattern:
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def films(count: int = 16, **columns: list[str]) -> None:
    Path("films").mkdir()
    for number in range(count):
        grey = np.random.default_rng(number).integers(0, 120, (64, 64)).astype(np.uint8)
        grey[20:40, 20:40] += 100 * (number % 2)
        Image.fromarray(grey).save(f"films/f{number:02d}.png")
    with Path("films/table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Image Index", *columns])
        writer.writerows(
            [f"f{n:02d}.png", *(values[n % len(values)] for values in columns.values())] for n in range(count)
        )


class TestInit:
    def test_a_card_of_all_label_values_and_a_suite_are_written(self, ask: Ask) -> None:
        volumes("scans/imagesTr/{}.nii.gz", "scans/labelsTr/{}.nii.gz")
        code, out, err = ask("data", "init", "scans")
        assert (code, err) == (0, "")
        assert "8 cases of 8 patients, 1 channel" in out
        assert "label values 1 (" in out
        task = read_task("scans.task.yaml")
        assert task.masks == {"value_1": (1,), "value_2": (2,)}
        assert task.sampling.patch == (24, 24, 16)
        suite = yaml.safe_load(Path("scans.suite.yaml").read_text())
        assert (suite["budget"], suite["methods"]) == ("short", ["scratch", "models_genesis"])
        ask("data", "init", "scans").refused("exists already", "--force")
        assert ask("data", "init", "scans", "--force").code == 0

    def test_several_findings_a_class_and_a_number_are_predicted_from_a_table(self, ask: Ask) -> None:
        findings = ["Mass|Nodule", "No Finding", "Mass", "Nodule"]
        films(findings=findings, diagnosis=["benign", "malignant"], age=[str(20 + n) for n in range(16)])
        assert ask("data", "init", "films", "--out", "a.yaml").code == 0
        assert read_task("a.task.yaml").findings == ("Mass", "Nodule")

        films_of = {"diagnosis": "classification", "age": "regression"}
        Path("films/table.csv").write_text(Path("films/table.csv").read_text().replace("|", "/"))
        for column, kind in films_of.items():
            assert ask("data", "init", "films", "--column", column, "--out", f"{column}.yaml").code == 0
            assert read_task(f"{column}.task.yaml").kind == kind

    def test_what_cannot_be_predicted_is_refused(self, ask: Ask) -> None:
        volumes("scans/images/{}.nii.gz", count=3)
        code, _, err = ask("data", "init", "scans")
        assert (code, "neither label maps nor a table" in err) == (3, True)
        Path("empty").mkdir()
        ask("data", "init", "empty").refused("no images in a known layout", code=3)
        ask("data", "init", "absent").refused("no such folder", code=3)

    def test_a_card_without_data_can_be_read(self, ask: Ask) -> None:
        assert ask("new", "task", "my_task").code == 0
        assert read_task("my_task.task.yaml").name == "my_task"
        assert ask("plan", "--suite", "my_task.suite.yaml").code == 3
        ask("new", "task", "My Task").refused("my_task")


CARD: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "kind": "segmentation",
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
    "data": {"name": "mine", "source": "folder", "config": {"images": "images/*", "labels": "labels/{id}.nii.gz"}},
    "preparation": {"intensity": "percentiles", "clip": [0.5, 99.5]},
    "split": {"train": 0.5, "validation": 0.2, "test": 0.3},
    "sampling": {"places": "foreground", "patch": [16, 16, 16]},
    "inference": {"mode": "sliding_window"},
}


class TestPlanOfOwnData:
    """Inputs that were once computed to a wrong or late end."""

    @staticmethod
    def plan(ask: Ask, **changes: Any) -> Answer:
        Path("task.yaml").write_text(yaml.safe_dump({**CARD, **changes}))
        suite = {"name": "mine", "width": 4, "corpora": {}, "methods": ["scratch"], "tasks": ["task.yaml"]}
        Path("suite.yaml").write_text(yaml.safe_dump(suite))
        return ask("plan", "--suite", "suite.yaml", "--data", "mine=data")

    def test_a_list_that_names_an_absent_case_ends_the_plan_with_2(self, ask: Ask) -> None:
        volumes("data/images/p{}.nii.gz", "data/labels/p{}.nii.gz")
        for name, text in (("train", "p00\np01"), ("validation", "p02"), ("test", "p05\np6")):
            Path(f"{name}.csv").write_text(text)
        lists = {part: f"{part}.csv" for part in ("train", "validation", "test")}
        self.plan(ask, split={"lists": lists}).refused("test.csv, line 2: 'p6'", "Did you mean 'p06'?")

    def test_masks_without_the_target_end_the_plan_with_3(self, ask: Ask) -> None:
        volumes("data/images/p{}.nii.gz", "data/labels/p{}.nii.gz")
        code, out, _ = self.plan(ask, target=[7])
        assert code == 3
        assert "label value 7 in none of 8 label maps, which hold 1, 2" in out

    def test_labels_of_nnunet_are_found_without_the_number_of_the_channel(self, ask: Ask) -> None:
        volumes("data/imagesTr/p{}_0000.nii.gz", "data/labelsTr/p{}.nii.gz")
        config = {"images": "imagesTr/*_0000.nii.gz", "labels": "labelsTr/{id}.nii.gz"}
        assert self.plan(ask, data={**CARD["data"], "config": config}).code == 0

    def test_a_column_of_a_table_classifies_whole_volumes(self, ask: Ask) -> None:
        volumes("data/images/p{}.nii.gz")
        Path("data/labels.csv").write_text("id,malignant\n" + "".join(f"p{n:02d},{n % 2}\n" for n in range(8)))
        config = {"images": "images/*", "table": "labels.csv", "attributes": ["malignant"]}
        whole = {
            "target": [],
            "kind": "classification",
            "loss": "bce",
            "headline": "auc",
            "findings": ["malignant"],
            "data": {"name": "mine", "source": "folder", "config": config},
            "sampling": {"places": "image", "patch": [16, 16, 16]},
            "inference": {"mode": "image"},
            "split": {"train": 0.5, "validation": 0.25, "test": 0.25, "stratify": True},
        }
        code, out, _ = self.plan(ask, **whole)
        assert code == (3 if "of one class" in out else 0), out


class TestVerbsOfOwnData:
    def test_check_finds_what_is_wrong_by_the_card(self, ask: Ask) -> None:
        volumes("scans/images/{}.nii.gz", "scans/labels/{}.nii.gz")
        ask("data", "init", "scans")
        code, out, _ = ask("data", "check", "scans.task.yaml", "--data", "scans=scans", "--read", "--jobs", "1")
        assert code == 0, out
        assert "8 cases of 8 patients; 8 with a label map" in out
        card = Path("scans.task.yaml")
        card.write_text(card.read_text().replace("{1: value_1, 2: value_2}", "{1: value_1, 3: value_3}"))
        code, out, _ = ask("data", "check", "scans.task.yaml", "--data", "scans=scans", "--read", "--jobs", "1")
        assert code == 3
        assert "label value 3 (value_3) in none of 8 label maps, which hold 1, 2" in out

    def test_variants_of_tasks_are_listed(self, ask: Ask) -> None:
        out = ask("list", "tasks").out
        assert "  ncs[data=phantom" in out
        assert "every task" in out


@pytest.mark.slow
def test_cases_without_a_value_are_named_and_the_run_ends_with_3(ask: Ask) -> None:
    films(age=["", *(str(20 + number) for number in range(15))])
    assert ask("data", "init", "films", "--column", "age").code == 0
    steps = ("fine_tuning.steps=2", "fine_tuning.steps_per_epoch=2")
    short = [part for step in steps for part in ("--set", step)]
    command = ("run", "--suite", "films.suite.yaml", "--data", "films=films", "--methods", "scratch", "--jobs", "1")
    code, out, err = ask(*command, *short)
    assert "1 of 16 cases take no part, as the table has no value for them: f00 (columns: age)" in out + err
    assert code == 3


@pytest.mark.slow
def test_every_command_of_the_guide_runs(ask: Ask) -> None:
    volumes("msd_hippocampus/imagesTr/hippocampus_{}.nii.gz", "msd_hippocampus/labelsTr/hippocampus_{}.nii.gz")
    films(diagnosis=["benign", "malignant"])
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) == 9
    for command in commands:
        program, *arguments = shlex.split(command)
        code, out, err = ask(*arguments)
        assert (program, code) == ("sg-bench", 0), f"{command}\n{out}\n{err}"
