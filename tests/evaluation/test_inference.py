from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sg_bench.data.prepare import PreparedCase
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, write_case
from sg_bench.evaluation.crops import cut_crop, fixed_crops
from sg_bench.evaluation.inference import BATCH, middle_slices, predict
from sg_bench.networks.build import task_model
from sg_bench.networks.configs import papers_network
from sg_bench.networks.heads import Classifier, Segmenter
from sg_bench.networks.unet import Encoder3D, UNet3D
from sg_bench.tasks import Task, read_task

CPU = torch.device("cpu")
PATCH = (8, 8, 8)


class PlaceAware(nn.Module):
    """A network whose output depends on where a voxel lies in its window, so that averaging shows."""

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.linspace(-2, 2, x.shape[2])[:, None, None] * torch.linspace(0, 1, x.shape[3])[:, None]
        return 3 * x + ramp + x.mean(dim=(2, 3, 4), keepdim=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Store]) -> Store:
    cases = {}
    for number, shape in enumerate([(20, 12, 13), (16, 16, 16), (5, 9, 4)]):
        draw = np.random.default_rng(number)
        candidates = [(tuple(draw.random(3) * shape), n % 3 == 0) for n in range(9)]
        cases[f"c{number}"] = {"image": draw.random(shape), "label": draw.random(shape) < 0.2, "candidates": candidates}
    return make_store(tmp_path_factory.mktemp("inference") / "store", cases)


def task(name: str, mode: str = "crops", **inference: Any) -> Task:
    card = read_task(name).model_dump()
    card["sampling"] |= {"patch": PATCH, "target_fraction": (0, 1)}
    card["target"] = () if name == "ncc" else (1,)
    card["inference"] = {"mode": mode, **inference}
    return Task.model_validate(card)


def averaged(network: nn.Module, image: np.ndarray, step: int) -> np.ndarray:
    """Return the mean over windows every `step` voxels, the last one flush with the end; small images are padded."""
    shape = image.shape
    pads = [max(0, 8 - side) for side in shape]
    image = np.pad(image, [(pad // 2, pad - pad // 2) for pad in pads])
    total, count = np.zeros(image.shape), np.zeros(image.shape)
    starts = [sorted({min(s, side - 8) for s in range(0, side - 8 + step, step)}) for side in image.shape]
    for x in starts[0]:
        for y in starts[1]:
            for z in starts[2]:
                window = (slice(x, x + 8), slice(y, y + 8), slice(z, z + 8))
                with torch.no_grad():
                    found = torch.sigmoid(network(torch.from_numpy(image[window])[None, None]))[0, 0].numpy()
                total[window] += found
                count[window] += 1
    inner = tuple(slice(pad // 2, pad // 2 + side) for pad, side in zip(pads, shape, strict=True))
    out: np.ndarray = (total / count)[inner]
    return out


class TestSlidingWindow:
    @pytest.mark.parametrize(("overlap", "step"), [(0.5, 4), (0.25, 6), (0.0, 8)])
    def test_probabilities_are_the_plain_mean_over_windows(self, store: Store, overlap: float, step: int) -> None:
        network = PlaceAware()
        found = predict(task("lcs", "sliding_window", overlap=overlap), network, store, store.ids[:2], CPU)
        for id_ in store.ids[:2]:
            image = np.asarray(store.image(id_), np.float32)
            np.testing.assert_allclose(found.probabilities[id_], averaged(network, image, step), atol=6e-4)

    def test_an_image_smaller_than_the_patch_is_padded_with_air(self, store: Store) -> None:
        network = PlaceAware()
        found = predict(task("lcs", "sliding_window"), network, store, ["c2"], CPU)
        assert found.probabilities["c2"].shape == (5, 9, 4)
        wanted = averaged(network, np.asarray(store.image("c2"), np.float32), 4)
        np.testing.assert_allclose(found.probabilities["c2"], wanted, atol=6e-4)

    def test_the_truth_is_the_targets_mask(self, store: Store) -> None:
        found = predict(task("lcs", "sliding_window"), PlaceAware(), store, ["c0"], CPU)
        np.testing.assert_array_equal(found.truths["c0"], store.label("c0") == 1)
        assert found.truths["c0"].dtype == np.uint8

    def test_a_real_network_predicts_on_its_own_grid(self, store: Store) -> None:
        network = Segmenter(UNet3D(1)).eval()
        found = predict(task("lcs", "sliding_window"), network, store, store.ids, CPU)
        for id_ in store.ids:
            probability = found.probabilities[id_]
            assert (probability.shape, probability.dtype.name) == (store[id_].shape, "float16")
            assert 0 <= probability.min() <= probability.max() <= 1

    def test_a_window_is_shrunk_for_the_network_and_its_answer_enlarged_again(self, store: Store) -> None:
        card = task("lcs", "sliding_window", overlap=0.0)
        wide = card.model_copy(update={"sampling": card.sampling.model_copy(update={"window": (16, 16, 16)})})
        found = predict(wide, Half(), store, ["c1"], CPU).probabilities["c1"]
        image = torch.from_numpy(np.array(store.image("c1"), np.float32))[None, None]
        small = torch.nn.functional.interpolate(image, size=PATCH, mode="trilinear", align_corners=False)
        large = torch.nn.functional.interpolate(
            torch.sigmoid(small), size=(16, 16, 16), mode="trilinear", align_corners=False
        )
        np.testing.assert_allclose(found, large[0, 0].numpy(), atol=1e-3)


class Half(nn.Module):
    """A network that answers with its input."""

    def forward(self, x: Tensor) -> Tensor:
        assert tuple(x.shape[2:]) in (PATCH, (32, 32, 1))
        return x


class TestFilms:
    @pytest.fixture
    def films(self, tmp_path: Path) -> Store:
        for number in range(2):
            image = np.random.default_rng(number).random((40, 48, 1)).astype(np.float16)
            label = (image > 0.5).astype(np.uint8)
            write_case(
                tmp_path, Case(f"f{number}", "p", findings=(1, 0)), PreparedCase(image, (1, 1, 1), np.eye(4), label)
            )
        finish(tmp_path, {"findings": ["Mass", "Hernia"]}, ["f0", "f1"])
        return Store.open(tmp_path)

    def test_ten_crops_are_corners_and_middle_mirrored_too_and_averaged(self, films: Store) -> None:
        card = read_task("dxc").model_dump() | {"findings": ("Mass", "Hernia")}
        card["sampling"] |= {"patch": (32, 32, 1)}
        found = predict(Task.model_validate(card), Weighing(), films, ["f0"], CPU)
        film = np.asarray(films.image("f0"), np.float32)[..., 0]
        crops = [film[x : x + 32, y : y + 32] for x, y in ((0, 0), (8, 0), (0, 16), (8, 16), (4, 8))]
        seen = torch.from_numpy(np.stack([*crops, *(crop[::-1].copy() for crop in crops)]))[:, None, :, :, None]
        wanted = torch.sigmoid(Weighing()(seen)).mean(dim=0).numpy()
        np.testing.assert_allclose(found.probabilities["f0"], wanted, atol=1e-3)
        assert found.truths["f0"].tolist() == [1, 0]

    def test_a_film_is_segmented_in_its_middle(self, films: Store) -> None:
        card = read_task("pxs").model_dump()
        card["sampling"] |= {"patch": (32, 32, 1)}
        found = predict(Task.model_validate(card), Half(), films, ["f1"], CPU)
        middle = np.asarray(films.image("f1"), np.float32)[4:36, 8:40]
        np.testing.assert_allclose(found.probabilities["f1"], 1 / (1 + np.exp(-middle)), atol=1e-3)
        np.testing.assert_array_equal(found.truths["f1"], middle > 0.5)


class Weighing(nn.Module):
    """Two logits that tell left from right and top from bottom."""

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.linspace(-1, 1, x.shape[2])
        across = (x[:, 0, :, :, 0] * ramp[:, None]).mean(dim=(1, 2))
        down = (x[:, 0, :, :, 0] * ramp[None]).mean(dim=(1, 2))
        return 20 * torch.stack([across, down], dim=1)


class TestSlices:
    def sliced(self, name: str, **slices: int) -> Task:
        card = read_task(f"{name}[protocol=slices]").model_dump()
        card["sampling"] |= {"patch": (16, 16, 8), "slices": {"size": 32, **slices}}
        card["target"] = () if name == "ncc" else (1,)
        return Task.model_validate(card)

    def test_a_candidates_score_is_the_mean_logit_of_its_middle_slices(self, store: Store) -> None:
        network = Weighing2D()
        found = predict(self.sliced("ncc", scored=4), network, store, ["c1"], CPU)
        crop = fixed_crops(self.sliced("ncc"), store, ["c1"])[0]
        image, _ = cut_crop(store, self.sliced("ncc"), crop)
        means = np.asarray(image, np.float32).mean(axis=(0, 1))[2:6]
        wanted = 1 / (1 + np.exp(-(10 * means - 2).mean()))
        np.testing.assert_allclose(found.probabilities[crop.id], [wanted], atol=1e-3)

    def test_segmented_slices_are_stacked_again_on_the_crops_grid(self, store: Store) -> None:
        found = predict(self.sliced("ncs"), Half(), store, ["c1"], CPU)
        crop = fixed_crops(self.sliced("ncs"), store, ["c1"])[0]
        image, truth = cut_crop(store, self.sliced("ncs"), crop)
        probability = found.probabilities[crop.id]
        assert probability.shape == truth.shape == (16, 16, 8)
        smooth = 1 / (1 + np.exp(-np.asarray(image, np.float32)))
        assert np.abs(probability - smooth).max() < 0.15
        assert np.corrcoef(probability.ravel().astype(float), smooth.ravel())[0, 1] > 0.95

    def test_a_real_2d_network_tells_and_segments_slices(self, store: Store) -> None:
        for name in ("ncc", "ncs"):
            task = self.sliced(name)
            network = task_model(papers_network(2, 1), task.kind).eval()
            found = predict(task, network, store, ["c0"], CPU)
            assert all(0 <= p.min() <= p.max() <= 1 for p in found.probabilities.values())

    def test_the_middle_of_few_slices_is_all_of_them(self) -> None:
        assert list(middle_slices(32, 8)) == list(range(12, 20))
        assert list(middle_slices(4, 8)) == [0, 1, 2, 3]
        assert list(middle_slices(7, 2)) == [2, 3]


class Weighing2D(nn.Module):
    """One logit: the slice's mean."""

    def forward(self, x: Tensor) -> Tensor:
        return 10 * x.mean(dim=(2, 3, 4)) - 2


class TestCrops:
    def test_every_candidate_gets_a_probability(self, store: Store) -> None:
        network = Classifier(Encoder3D(1), 1).eval()
        found = predict(task("ncc"), network, store, store.ids, CPU)
        assert len(found.probabilities) == 27 > BATCH
        assert sum(int(truth[0]) for truth in found.truths.values()) == 9
        assert {probability.shape for probability in found.probabilities.values()} == {(1,)}

    def test_only_positive_candidates_are_segmented(self, store: Store) -> None:
        found = predict(task("ncs"), PlaceAware(), store, store.ids, CPU)
        assert sorted(found.truths) == [f"c{n}#{k}" for n in range(3) for k in (0, 3, 6)]

    def test_a_prediction_does_not_depend_on_the_others_in_its_batch(self, store: Store) -> None:
        network = Segmenter(UNet3D(1)).eval()
        every = predict(task("ncs"), network, store, store.ids, CPU).probabilities
        alone = predict(task("ncs"), network, store, ["c2"], CPU).probabilities
        for id_, probability in alone.items():
            np.testing.assert_allclose(probability, every[id_], atol=1e-3)

    def test_fixed_crops_depend_on_no_fine_tuning_seed_and_no_other_case(self, store: Store) -> None:
        card = task("lcs", crops_per_case=3)
        crops = fixed_crops(card, store, store.ids)
        np.random.seed(1)  # noqa: NPY002
        assert fixed_crops(card, store, store.ids) == crops
        assert fixed_crops(card, store, ["c1"]) == crops[3:6]
        assert [crop.id for crop in crops] == [f"c{n}#{k}" for n in range(3) for k in range(3)]

    def test_fixed_crops_change_with_the_splits_seed(self, store: Store) -> None:
        card = task("lcs")
        other = card.model_copy(update={"split": card.split.model_copy(update={"seed": 1})})
        assert fixed_crops(card, store, ["c0"]) != fixed_crops(other, store, ["c0"])

    def test_predicting_twice_gives_the_same_bytes(self, store: Store, tmp_path: Path) -> None:
        network = Segmenter(UNet3D(1)).eval()
        for name in ("one", "two"):
            predict(task("lcs"), network, store, store.ids, CPU).save(tmp_path / name)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()

    def test_no_gradients_are_kept(self, store: Store) -> None:
        network = Segmenter(UNet3D(1)).eval()
        predict(task("lcs"), network, store, ["c0"], CPU)
        assert all(parameter.grad is None for parameter in network.parameters())
