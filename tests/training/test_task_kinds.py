"""Classes, regions, columns, numbers and several channels: from a card to losses, predictions and scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from sg_bench.data.prepare import PreparedCase
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, write_case
from sg_bench.errors import DataError
from sg_bench.evaluation.columns import with_truth
from sg_bench.evaluation.crops import check_masks, fixed_crops, truth_of
from sg_bench.evaluation.inference import predict
from sg_bench.evaluation.scoring import Scoring, score_predictions
from sg_bench.evaluation.shots import few_shots
from sg_bench.networks.configs import papers_network
from sg_bench.networks.heads import Regressor
from sg_bench.tasks import Task
from sg_bench.training.draws import Draw, Purpose
from sg_bench.training.fine_tuning import FineTuning, input_channels, task_network
from sg_bench.training.probing import probed, probed_values
from sg_bench.training.task_losses import soft_dice_loss, task_loss
from tests.training.conftest import CPU, initial

SIDE = (8, 8, 8)
DATA = {"name": "own", "source": "phantom"}
BASE = {"name": "mine", "title": "Mine", "data": DATA, "training": {"batch_size": 4, "epochs": 1}}
VOXELS = {"places": "foreground", "patch": SIDE, "crops_per_case": 2}
WHOLE = {"places": "image", "patch": SIDE}


def segmentation(**changes: Any) -> Task:
    card = {
        "kind": "segmentation",
        "sampling": VOXELS,
        "inference": {"mode": "sliding_window"},
        "headline": "dice_mean",
    }
    return Task.model_validate({**BASE, **card, "loss": "dice", **changes})


def of_volumes(**changes: Any) -> Task:
    card = {"kind": "classification", "sampling": WHOLE, "inference": {"mode": "image"}, "headline": "auc"}
    return Task.model_validate({**BASE, **card, "loss": "bce", **changes})


CLASSES = segmentation(classes={1: "left", 2: "right"}, secondary=("hd95",))
REGIONS = segmentation(regions={"whole": [1, 2], "core": [2]}, loss="dice_ce")
GRADE = of_volumes(label="grade", classes=["low", "middle", "high"], loss="cross_entropy")
SICK = of_volumes(label="sick", classes=[0, 1])
BOTH = of_volumes(findings=("sick", "old"))
AGE = of_volumes(kind="regression", value="age", loss="mse", headline="mae")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six cases of two channels, a label map of 1 and 2, and a row of a table; the last has no row."""
    folder = tmp_path_factory.mktemp("own")
    for number in range(7):
        draw = np.random.default_rng(number)
        label = np.zeros((12, 10, 9), np.uint8)
        label[2:5, 2:8, 2:7], label[7:10, 2:8, 2:7] = 1, 2
        image = (draw.random((2, *label.shape)) * 0.2 + 0.3 * label).astype(np.float16)
        row: dict[str, str | float] = {
            "grade": ("low", "middle", "high")[number % 3], "sick": float(number % 2), "old": str(number // 3 % 2),
            "age": 40.0 + 5 * number,
        }  # fmt: skip
        case = Case(f"c{number}", f"p{number}", attributes=row if number < 6 else {})
        write_case(folder, case, PreparedCase(image, (1.0, 2.0, 3.0), np.diag([1.0, 2, 3, 1]), label))
    finish(folder, {"findings": []}, [f"c{number}" for number in range(7)])
    return Store.open(folder)


def tuning(task: Task, store: Store, ids: list[str]) -> FineTuning:
    network, _ = task_network(task, papers_network(3, 1), *initial(1), 0, channels=input_channels(store))
    return FineTuning(task, network, store, ids, [], 0, CPU)


def first_batch(learner: FineTuning, count: int = 3) -> Any:
    return learner.batch("train", [Draw(index, (0, Purpose.TRAIN, 0, 0, index)) for index in range(count)])


IDS = [f"c{number}" for number in range(6)]


@pytest.mark.parametrize(
    ("task", "outputs", "truths"),
    [(CLASSES, 3, (3, 2, *SIDE)), (REGIONS, 2, (3, 2, *SIDE)), (GRADE, 3, (3, 3)), (SICK, 1, (3, 1)),
     (BOTH, 2, (3, 2)), (AGE, 1, (3, 1))],
)  # fmt: skip
def test_each_kind_is_trained_tested_and_scored(
    volumes: Store, task: Task, outputs: int, truths: tuple[int, ...]
) -> None:
    learner = tuning(task, volumes, IDS)
    batch = first_batch(learner)
    assert batch.inputs.shape == (3, 2, *SIDE)
    assert batch.truths.shape == truths
    assert learner.outputs(batch).shape[1] == outputs == task.outputs
    loss = learner.losses(batch, learner.stages[0]).terms[task.loss]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in learner.network.backbone.parameters())
    found = predict(task, learner.network.eval(), volumes, IDS, CPU)
    metrics, rows = score_predictions(Scoring.of(task.key_content()), found)
    assert len(rows) == 6
    assert set(metrics) <= set(Scoring.of(task.key_content()).metrics())
    assert task.headline in metrics


def test_masks_are_those_of_the_most_probable_class_and_surfaces_know_the_spacing(volumes: Store) -> None:
    found = predict(CLASSES, tuning(CLASSES, volumes, IDS).network.eval(), volumes, IDS[:1], CPU)
    masks = found.probabilities["c0"]
    assert masks.shape == found.truths["c0"].shape == (2, 12, 10, 9)
    assert masks.dtype == np.uint8
    assert masks.sum(axis=0).max() <= 1
    assert found.spacing("c0") == (1, 2, 3)


class TestColumns:
    def test_a_class_is_one_of_several_or_whether_it_is_the_second_of_two(self, volumes: Store) -> None:
        (crop,) = fixed_crops(GRADE, volumes, ["c1"])
        assert truth_of(volumes, GRADE, crop).tolist() == [False, True, False]
        assert truth_of(volumes, SICK, crop).tolist() == [True]
        assert truth_of(volumes, BOTH, crop).tolist() == [True, False]
        assert truth_of(volumes, AGE, crop).tolist() == [45.0]

    def test_a_case_without_a_value_is_left_out_and_a_column_that_no_case_has_is_named(self, volumes: Store) -> None:
        assert with_truth(volumes, GRADE, [*IDS, "c6"]) == IDS
        assert with_truth(volumes, CLASSES, [*IDS, "c6"]) == [*IDS, "c6"]
        other = of_volumes(label="grades", classes=["low", "high"])
        with pytest.raises(
            DataError, match=r"no case has the column 'grades'; columns of .* are: age, grade, old, sick"
        ):
            with_truth(volumes, other, IDS)

    def test_a_value_that_is_no_class_or_no_number_is_named_with_its_case(self, volumes: Store) -> None:
        (crop,) = fixed_crops(GRADE, volumes, ["c1"])
        two = of_volumes(label="grade", classes=["low", "high"])
        with pytest.raises(DataError, match="case 'c1' has grade = 'middle', and the card's classes are low, high"):
            truth_of(volumes, two, crop)
        with pytest.raises(DataError, match="case 'c1' has grade = 'middle', which is no number"):
            truth_of(volumes, of_volumes(kind="regression", value="grade", loss="mse", headline="mae"), crop)
        with pytest.raises(DataError, match="case 'c1' has age = 45, not 0 or 1"):
            truth_of(volumes, of_volumes(findings=("age",)), crop)

    def test_shots_are_of_each_class(self, volumes: Store) -> None:
        crops = fixed_crops(GRADE, volumes, IDS)
        ids, few = few_shots(GRADE.model_copy(update={"shots": 1}), volumes, IDS, crops, 0)
        assert len(ids) == len(few) == 3
        assert {volumes[id_].attributes["grade"] for id_ in ids} == {"low", "middle", "high"}
        assert len(few_shots(AGE.model_copy(update={"shots": 2}), volumes, IDS, crops, 0)[0]) == 2


class TestLosses:
    def test_dice_of_classes_is_their_mean_without_background(self) -> None:
        logits, truths = torch.randn(2, 3, 4, 4, 4), functional.one_hot(torch.arange(128) % 3, 3).float()
        truths = truths.reshape(2, 4, 4, 4, 3).permute(0, 4, 1, 2, 3)[:, 1:]
        shares = torch.softmax(logits, dim=1)
        wanted = (soft_dice_loss(shares[:, 1], truths[:, 0]) + soft_dice_loss(shares[:, 2], truths[:, 1])) / 2
        assert task_loss(CLASSES, logits, truths) == pytest.approx(wanted)

    def test_cross_entropy_of_voxels_counts_background(self) -> None:
        task = CLASSES.model_copy(update={"loss": "cross_entropy"})
        classes = torch.arange(64).reshape(1, 4, 4, 4) % 3
        truths = functional.one_hot(classes, 3).permute(0, 4, 1, 2, 3).float()[:, 1:]
        logits = torch.randn(1, 3, 4, 4, 4)
        assert task_loss(task, logits, truths) == pytest.approx(functional.cross_entropy(logits, classes))
        both = CLASSES.model_copy(update={"loss": "dice_ce"})
        assert task_loss(both, logits, truths) == pytest.approx(
            task_loss(task, logits, truths) + task_loss(CLASSES, logits, truths)
        )

    def test_a_regression_starts_at_the_mean_and_its_loss_is_of_standardised_values(self, volumes: Store) -> None:
        learner = tuning(AGE, volumes, IDS)
        assert isinstance(learner.network, Regressor)
        values = np.arange(40, 70, 5)
        assert learner.network.mean.item() == pytest.approx(values.mean())
        batch = first_batch(learner)
        outputs = batch.truths + float(values.std())
        assert learner.losses_of(outputs, batch).terms["mse"] == pytest.approx(1.0)


def test_a_class_of_no_test_case_is_refused_before_training(volumes: Store) -> None:
    check_masks(CLASSES, volumes, IDS)
    with pytest.raises(DataError, match=r"none of 6 test cases holds 'tail' \(label values 3\), .* 'c0' holds 0, 1, 2"):
        check_masks(segmentation(classes={1: "head", 3: "tail"}), volumes, IDS)
    with pytest.raises(DataError, match=r"none of 6 test cases holds the target \[255\]"):
        check_masks(segmentation(target=[255], headline="dice_case"), volumes, IDS)


class TestProbes:
    def test_several_classes_have_probabilities_whose_sum_is_one(self) -> None:
        draw = np.random.default_rng(0)
        truths = np.eye(3)[np.arange(60) % 3]
        values = draw.normal(size=(60, 5)) + 4 * truths @ draw.normal(size=(3, 5))
        for probe in ("linear", "knn"):
            found = probed(probe, values, truths.astype(np.uint8), values, exclusive=True)
            assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
            assert (found.argmax(axis=1) == truths.argmax(axis=1)).mean() > 0.9

    def test_numbers_are_predicted_better_than_by_their_mean(self) -> None:
        draw = np.random.default_rng(0)
        values = draw.normal(size=(80, 5))
        truths = (50 + values @ draw.normal(size=(5, 1)) * 10).astype(np.float32)
        for probe in ("linear", "knn"):
            found = probed_values(probe, values[:60], truths[:60], values[60:])
            assert found.shape == (20, 1)
            assert np.abs(found - truths[60:]).mean() < np.abs(truths[:60].mean() - truths[60:]).mean()


def test_images_of_other_numbers_of_channels_are_named(tmp_path: Path, make_store: Callable[..., Store]) -> None:
    image = np.zeros((4, 4, 4))
    store = make_store(tmp_path, {"a": {"image": image}, "b": {"image": np.stack([image, image])}})
    with pytest.raises(DataError, match="number of channels: 1 in 'a', 2 in 'b'"):
        input_channels(store)
