"""Probes: features of a frozen encoder, and the classifiers that are fitted on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sg_bench.data.store import Store
from sg_bench.errors import DataError, MethodError
from sg_bench.evaluation.crops import candidate_or_image_crops
from sg_bench.evaluation.shots import few_shots
from sg_bench.networks.build import encoder
from sg_bench.networks.configs import papers_network
from sg_bench.networks.heads import LinearSegmenter
from sg_bench.tasks import Task, read_task
from sg_bench.training.features import (
    _at_voxels,
    _sampled_voxels,
    estimate_norms,
    image_features,
    training_crops,
    voxel_features,
)
from sg_bench.training.pretraining import build_initialised
from sg_bench.training.probing import check_both_classes, linear_segmenter, probed

CPU = torch.device("cpu")


def task_of(reference: str) -> Task:
    task = read_task(reference)
    return task.model_copy(update={"sampling": task.sampling.model_copy(update={"patch": (16, 16, 8)})})


@pytest.fixture
def store(tmp_path: Path, make_store: Callable[..., Store]) -> Store:
    """Eight cases, each with a bright cube that is its target and a candidate, and two candidates outside of it."""
    random, cases = np.random.default_rng(0), {}
    for number in range(8):
        image, label = random.random((24, 24, 12)) * 0.3, np.zeros((24, 24, 12), np.uint8)
        image[4:12, 4:12, 2:8] += 0.6
        label[4:12, 4:12, 2:8] = 1
        places = [((8, 8, 5), True), ((18, 18, 6), False), ((18, 6, 6), False)]
        cases[f"p{number}"] = {"image": image, "label": label, "candidates": places}
    return make_store(tmp_path, cases)


class TestClassifiers:
    @pytest.mark.parametrize("probe", ["linear", "knn"])
    def test_separable_features_are_separated_for_every_finding_and_the_same_twice(self, probe: str) -> None:
        random = np.random.default_rng(1)
        truths = random.random((80, 2)) < (0.5, 0.3)
        values = (random.normal(size=(80, 6)) + 4 * truths[:, [0, 1, 0, 1, 0, 1]]).astype(np.float32)
        values[:, 5] = 7  # constant
        one, other = (probed(probe, values[:50], truths[:50], values[50:]) for _ in range(2))  # type: ignore[arg-type]
        assert one.shape == (30, 2)
        assert np.all((one >= 0) & (one <= 1))
        assert np.mean((one > 0.5) == truths[50:]) > 0.9
        assert np.array_equal(one, other)

    def test_an_output_of_one_class_is_refused_by_name(self) -> None:
        truths = np.array([[1, 0], [0, 0], [1, 0]])
        with pytest.raises(DataError, match="0 of 3 are positive for mass"):
            check_both_classes(truths, ("effusion", "mass"))

    def test_features_that_are_not_finite_are_refused(self) -> None:
        values = np.full((4, 2), np.nan, np.float32)
        with pytest.raises(MethodError, match="NaN or infinite"):
            probed("linear", values, np.array([[0], [1], [0], [1]]), values)


class TestFeatures:
    def test_images_have_the_channels_of_the_coarsest_map_and_as_many_negatives_as_positives(
        self, store: Store
    ) -> None:
        task, network = task_of("ncc[probe=linear]"), encoder(papers_network(3, 1)).eval()
        crops = training_crops(task, store, store.ids)
        assert sum(crop.positive for crop in crops) == sum(not crop.positive for crop in crops) == 8
        found = image_features(task, network, store, crops, CPU)
        assert found["values"].shape == (16, network.channels[-1])
        assert found["truths"][:, 0].tolist() == [crop.positive for crop in crops]

    def test_voxels_have_what_interpolating_all_maps_gives(self) -> None:
        network, places = encoder(papers_network(3, 1)).eval(), np.array([0, 5, 700, 2047])
        image = torch.rand(1, 1, 16, 16, 8)
        with torch.no_grad():
            maps = network.features(image)
            sampled = _at_voxels(maps, places, (16, 16, 8))
            weight = torch.randn(sampled.shape[1])
            segmenter = LinearSegmenter(network)
            segmenter.set_weights(weight, 0.5)
            logits = segmenter(image).reshape(-1)[places].numpy()
        np.testing.assert_allclose(sampled @ weight.numpy() + 0.5, logits, atol=1e-4)

    def test_sampled_voxels_stand_for_all_voxels_of_their_class(self) -> None:
        mask = np.zeros((16, 16, 8), bool)
        mask[3:6, 3:6, 3:5] = True
        places, weights = _sampled_voxels(mask, np.random.default_rng(0))
        inside = mask.reshape(-1)[places]
        assert inside.sum() == 18
        assert len(set(places)) == 64
        assert weights[inside].sum() == pytest.approx(18)
        assert weights[~inside].sum() == pytest.approx(mask.size - 18, rel=1e-5)

    def test_a_linear_probe_of_voxels_finds_a_bright_target(self, store: Store) -> None:
        task, network = task_of("lcs[probe=linear]"), build_initialised(lambda: encoder(papers_network(3, 4)), 0).eval()
        crops = training_crops(task, store, store.ids)
        estimate_norms(task, network, store, crops, CPU)
        found = voxel_features(task, network, store, crops, CPU)
        again = voxel_features(task, network, store, training_crops(task, store, store.ids[:3]), CPU)
        assert np.array_equal(found["values"][: len(again["values"])], again["values"])
        segmenter = linear_segmenter(network, found["values"], found["truths"], found["weights"]).eval()
        image = torch.from_numpy(np.array(store.image("p7"), np.float32))[None, None, :16, :16, :8]
        with torch.no_grad():
            shown = segmenter(image)[0, 0].numpy() > 0
        truth = store.label("p7")[:16, :16, :8] == 1
        assert (shown & truth).sum() / (shown | truth).sum() > 0.5


class TestShots:
    def test_few_are_among_many_and_of_each_class(self, store: Store) -> None:
        crops = candidate_or_image_crops(task_of("ncc"), store, store.ids)
        found = {k: few_shots(task_of(f"ncc[shots={k}]"), store, store.ids, crops, 3) for k in (1, 3, 5)}
        for k, (ids, few) in found.items():
            assert sum(crop.positive for crop in few) == sum(not crop.positive for crop in few) == k
            assert ids == sorted({crop.case for crop in few})
        assert set(found[1][1]) < set(found[3][1]) < set(found[5][1])
        assert few_shots(task_of("ncc[shots=3]"), store, store.ids, crops, 4) != found[3]

    def test_a_segmentation_takes_cases_that_show_the_target(self, tmp_path: Path, make_store: Callable) -> None:
        blank = {"image": np.zeros((16, 16, 8)), "label": np.zeros((16, 16, 8))}
        shown = {**blank, "label": np.ones((16, 16, 8))}
        store = make_store(tmp_path / "some", {f"p{n}": shown if n % 2 else blank for n in range(8)})
        found = [few_shots(task_of(f"lcs[shots={k}]"), store, store.ids, [], 0)[0] for k in (1, 3)]
        assert set(found[0]) < set(found[1]) < {"p1", "p3", "p5", "p7"}
        with pytest.raises(
            DataError, match="shots=5 needs 5 cases that show the target, and the training cases hold 4"
        ):
            few_shots(task_of("lcs[shots=5]"), store, store.ids, [], 0)

    def test_more_than_there_are_is_refused(self, store: Store) -> None:
        crops = candidate_or_image_crops(task_of("ncc"), store, store.ids)
        with pytest.raises(DataError, match="shots=9 needs 9 positive samples, and the training cases hold 8"):
            few_shots(task_of("ncc[shots=9]"), store, store.ids, crops, 0)
