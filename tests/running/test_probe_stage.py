"""A probe's cell: its features are computed once an initialisation, whatever seeds, shots and probes use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sg_bench.data.splits import SplitParts
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.recipes import CellRecipe
from sg_bench.registry import METHODS
from sg_bench.running.stages import probe as stage
from sg_bench.tasks import read_task
from sg_bench.training.features import image_features
from sg_bench.training.pretraining import fresh_network
from sg_bench.workspace import Workspace
from tests.recipes import pretraining_recipe, store_recipe

CPU = torch.device("cpu")


class Probing:
    """Probes with one untrained encoder on a store whose positive candidates are bright."""

    def __init__(self, folder: Path, make_store: Callable[..., Store]) -> None:
        random, cases = np.random.default_rng(0), {}
        for number in range(10):
            image, label = random.random((24, 24, 12)) * 0.2, np.zeros((24, 24, 12), np.uint8)
            image[4:14, 4:14, 2:10] += 0.7
            label[4:14, 4:14, 2:10] = 1
            places = [((9, 9, 6), True), ((19, 19, 6), False)]
            cases[f"p{number}"] = {"image": image, "label": label, "candidates": places}
        self.store = make_store(folder / "store", cases)
        self.workspace = Workspace(folder / "work")
        ids = self.store.ids
        self.parts: SplitParts = {"train": ids[:6], "validation": [], "test": ids[6:]}
        method = METHODS.load("scratch")(METHODS.config("scratch").model_validate({"width": 2}))
        encoder, decoder = method.initialisation(fresh_network(method, 0))
        self.weights = (encoder, decoder, "ab" * 32)

    def __call__(self, reference: str, seed: int = 0, train: int = 6) -> stage.CellOutcome:
        task = read_task(reference)
        sampling = task.sampling.model_copy(update={"patch": (16, 16, 8)})
        recipe = CellRecipe(
            task=task.model_copy(update={"sampling": sampling}),
            store=store_recipe(),
            initialisation=pretraining_recipe(width=2),
            pretraining_seed=0,
            fine_tuning_seed=seed,
        )
        ids = self.parts["train"][:train]
        return stage.probe(recipe, self.store, self.parts, ids, self.weights, self.workspace, CPU)

    @property
    def files(self) -> list[Path]:
        return sorted(self.workspace.path("features").glob("*.npz"))


@pytest.fixture
def probing(tmp_path: Path, make_store: Callable[..., Store]) -> Probing:
    return Probing(tmp_path, make_store)


def test_features_are_computed_once_and_again_if_they_are_damaged(probing: Probing, monkeypatch: Any) -> None:
    counted = list[int]()

    def counting(*given: Any) -> Any:
        counted.append(1)
        return image_features(*given)

    monkeypatch.setattr(stage, "image_features", counting)
    first = probing("ncc[probe=linear]")
    chosen = [probing("ncc[probe=knn]"), probing("ncc[probe=linear,shots=2]", 1), probing("ncc[probe=knn]", train=3)]
    assert len(counted) == 2  # of the training and of the test cases
    assert {each.outputs["features"] for each in chosen} == {first.outputs["features"]}
    (path,) = probing.files
    path.write_bytes(path.read_bytes()[:-40])
    again = probing("ncc[probe=linear]")
    assert len(counted) == 4
    assert again.outputs == first.outputs
    assert all(
        np.array_equal(again.predictions.probabilities[id_], p) for id_, p in first.predictions.probabilities.items()
    )
    probing.weights = (*probing.weights[:2], "cd" * 32)
    probing("ncc[probe=linear]")
    assert len(probing.files) == 2


def test_bright_candidates_and_voxels_are_found_without_training(probing: Probing) -> None:
    found = [probing("ncc[probe=linear]"), probing("ncc[probe=knn]"), probing("ncc[probe=linear,shots=2]")]
    for each in found:
        right = [
            (p > 0.5) == t
            for p, t in zip(each.predictions.probabilities.values(), each.predictions.truths.values(), strict=True)
        ]
        assert np.mean(right) > 0.9
        assert each.curves == []
    assert [each.train_cases for each in found[:2]] == [6, 6]
    voxels = probing("lcs[probe=linear]").predictions
    for id_, truth in voxels.truths.items():
        shown = voxels.probabilities[id_] > 0.5
        assert (shown & (truth > 0)).sum() / (shown | (truth > 0)).sum() > 0.4  # all voxels would give 0.12


def test_training_samples_of_one_class_are_refused_before_any_feature(probing: Probing) -> None:
    index = {
        id_: replace(probing.store[id_], candidates=probing.store[id_].candidates[:1]) for id_ in probing.store.ids
    }
    probing.store._by_id = index
    with pytest.raises(DataError, match="needs positive and negative training samples; "):
        probing("ncc[probe=linear]")
    assert probing.files == []
