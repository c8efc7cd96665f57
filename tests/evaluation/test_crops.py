from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.data.prepare import PreparedCase
from sg_bench.data.sampling import cut
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, write_case
from sg_bench.errors import DataError
from sg_bench.evaluation.crops import (
    MAX_FOREGROUND_VOXELS,
    Crop,
    candidate_crops,
    check_candidates,
    cut_crop,
    fixed_crops,
    foreground_crop,
    foreground_voxels,
    resized_nearest,
    truth_of,
)
from sg_bench.tasks import Task, read_task


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Store]) -> Store:
    """Return a store of one big case with a corner of target, one smaller than a patch, and one without target."""
    image = np.random.default_rng(0).random((40, 32, 24))
    label = np.zeros(image.shape)
    label[2:12, 3:10, 4:9] = 5
    label[30:33, 20:23, 20:23] = 6
    tiny = np.zeros((4, 10, 3))
    tiny[1:3, 2:4, 1] = 6
    cases = {
        "big": {
            "image": image,
            "label": label,
            "candidates": [((6.0, 6.4, 6.5), True), ((20.0, 20.0, 12.0), False), ((0.0, 31.0, 23.0), False)],
        },
        "tiny": {"image": np.ones(tiny.shape), "label": tiny, "candidates": [((1.0, 2.0, 1.0), True)]},
        "void": {"image": image, "label": np.zeros(image.shape)},
    }
    return make_store(tmp_path_factory.mktemp("crops") / "store", cases)


def task(name: str = "lcs", **sampling: Any) -> Task:
    card = read_task(name).model_dump()
    card["sampling"] |= {"patch": (8, 8, 8), "target_fraction": (0, 1), **sampling}
    card["target"] = () if name == "ncc" else (5, 6)
    return Task.model_validate(card)


def drawn(store: Store, card: Task, id_: str, count: int = 200) -> list[Crop]:
    voxels, rng = foreground_voxels(store, card, id_), np.random.default_rng(0)
    return [foreground_crop(store, card, id_, voxels, rng, number) for number in range(count)]


class TestCandidates:
    def test_there_is_one_crop_for_every_candidate_with_an_id_of_its_own(self, store: Store) -> None:
        crops = candidate_crops(store, ["big", "tiny"])
        assert [(crop.id, crop.case, crop.positive) for crop in crops] == [
            ("big#0", "big", True),
            ("big#1", "big", False),
            ("big#2", "big", False),
            ("tiny#0", "tiny", True),
        ]
        assert crops[0].centre == (6.0, 6.4, 6.5)

    def test_asked_for_one_kind_it_gives_only_that_under_the_same_ids(self, store: Store) -> None:
        assert [crop.id for crop in candidate_crops(store, ["big", "tiny"], positive=True)] == ["big#0", "tiny#0"]
        assert [crop.id for crop in candidate_crops(store, ["big", "tiny"], positive=False)] == ["big#1", "big#2"]

    def test_a_case_without_a_candidate_takes_no_part(self, store: Store) -> None:
        assert [crop.id for crop in candidate_crops(store, ["tiny", "void"])] == ["tiny#0"]
        assert candidate_crops(store, ["void"]) == candidate_crops(store, []) == []

    def test_a_part_without_any_candidate_is_an_error_that_names_it(self, store: Store) -> None:
        with pytest.raises(DataError, match="none of the 1 training cases holds a positive candidate: void"):
            check_candidates(task("ncs"), store, ["void"], "training")
        check_candidates(task("ncs"), store, ["tiny", "void"], "training")
        check_candidates(task("ncs"), store, [], "training")


class TestCut:
    def test_a_crop_is_cut_round_the_voxel_nearest_to_its_centre(self, store: Store) -> None:
        image, truth = cut_crop(store, task(), candidate_crops(store, ["big"])[0])
        np.testing.assert_array_equal(image, store.image("big")[2:10, 2:10, 3:11])
        np.testing.assert_array_equal(truth, store.label("big")[2:10, 2:10, 3:11] > 0)

    def test_a_shift_moves_image_and_mask(self, store: Store) -> None:
        image, truth = cut_crop(store, task(), candidate_crops(store, ["big"])[0], (1, -2, 3))
        np.testing.assert_array_equal(image, store.image("big")[3:11, 0:8, 6:14])
        np.testing.assert_array_equal(truth, store.label("big")[3:11, 0:8, 6:14] > 0)

    def test_only_target_values_count_as_foreground(self, store: Store) -> None:
        card = task().model_copy(update={"target": (6,)})
        _, truth = cut_crop(store, card, candidate_crops(store, ["big"])[0])
        assert not truth.any()

    def test_at_the_border_the_rest_is_air_without_target(self, store: Store) -> None:
        image, truth = cut_crop(store, task(), candidate_crops(store, ["big"])[2])
        np.testing.assert_array_equal(image[4:, :5, :5], store.image("big")[:4, 27:, 19:])
        assert not image[:4].any()
        assert not image[:, 5:].any()
        assert not truth.any()

    def test_a_classification_gets_a_single_truth(self, store: Store) -> None:
        for crop in candidate_crops(store, ["big"]):
            _, truth = cut_crop(store, task("ncc"), crop)
            assert truth.tolist() == [crop.positive]

    def test_a_window_is_resized_to_the_patch_with_its_truth(self, store: Store) -> None:
        (crop, *_) = candidate_crops(store, ["big"])
        image, truth = cut_crop(store, task(window=(16, 16, 8)), crop)
        whole = np.asarray(cut(store.image("big"), (-2, -2, 3), (16, 16, 8)), np.float32)
        np.testing.assert_allclose(image, whole.reshape(8, 2, 8, 2, 8).mean(axis=(1, 3)), atol=1e-3)
        mask = cut(store.label("big"), (-2, -2, 3), (16, 16, 8)) > 0
        np.testing.assert_array_equal(truth, mask[1::2, 1::2])

    def test_a_candidate_with_values_of_its_own_is_told_from_its_neighbours(self, store: Store) -> None:
        (crop, *_) = candidate_crops(store, ["big"])
        own = replace(crop, target=(6,))
        assert cut_crop(store, task(), crop)[1].any()
        assert not cut_crop(store, task(), own)[1].any()


class TestFilms:
    @pytest.fixture
    def films(self, tmp_path: Path) -> Store:
        for number in range(3):
            image = np.full((40, 36, 1), number / 4, np.float16)
            case = Case(f"f{number}", "p", findings=(number % 2, 1, 0))
            write_case(tmp_path, case, PreparedCase(image, (1.0, 1.0, 1.0), np.eye(4)))
        finish(tmp_path, {"findings": ["Mass", "Edema", "Hernia"]}, ["f0", "f1", "f2"])
        return Store.open(tmp_path)

    @staticmethod
    def card(*findings: str) -> Task:
        card = read_task("dxc").model_dump() | {"findings": findings}
        card["sampling"] |= {"patch": (32, 32, 1)}
        return Task.model_validate(card)

    def test_a_film_has_one_crop_its_middle(self, films: Store) -> None:
        (crop, *_) = fixed_crops(self.card("Mass"), films, films.ids)
        image, _ = cut_crop(films, self.card("Mass"), crop)
        assert (crop.id, image.shape) == ("f0", (32, 32, 1))
        assert crop.centre == (20, 18, 0)

    def test_its_truth_are_the_cards_findings_in_the_cards_order(self, films: Store) -> None:
        crops = fixed_crops(self.card("Edema", "Mass"), films, films.ids)
        truths = [cut_crop(films, self.card("Edema", "Mass"), crop)[1].tolist() for crop in crops]
        assert truths == [[True, False], [True, True], [True, False]]

    def test_a_finding_that_the_source_does_not_label_is_named(self, films: Store) -> None:
        (crop, *_) = fixed_crops(self.card("Nodule"), films, ["f0"])
        with pytest.raises(DataError, match=r"case 'f0' has no label 'Nodule'.*Mass"):
            truth_of(films, self.card("Nodule"), crop)


class TestNearest:
    def test_it_takes_the_value_in_the_middle_of_each_new_voxel(self) -> None:
        label = np.arange(6).reshape(6, 1, 1)
        assert resized_nearest(label, (3, 1, 1)).ravel().tolist() == [1, 3, 5]
        assert resized_nearest(label, (12, 1, 2))[:, 0, 1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


class TestFixedCrops:
    def test_test_crops_of_a_case_stay_when_a_case_before_it_becomes_readable(
        self, tmp_path: Path, make_store: Callable[..., Store]
    ) -> None:
        cases = {id_: {"image": np.zeros((30, 30, 30)), "label": np.full((30, 30, 30), 5)} for id_ in "abc"}
        mended = make_store(tmp_path / "mended", cases)
        before = make_store(tmp_path / "before", {id_: cases[id_] for id_ in "bc"})
        card = task(centred=0.5)
        assert fixed_crops(card, mended, ["b", "c"]) == fixed_crops(card, before, ["b", "c"])
        centres = [{crop.centre for crop in fixed_crops(card, mended, [id_])} for id_ in "abc"]
        assert not centres[0] & centres[1] & centres[2]


class TestForegroundVoxels:
    def test_they_are_those_of_the_target(self, store: Store) -> None:
        voxels = foreground_voxels(store, task(), "big")
        np.testing.assert_array_equal(voxels, np.flatnonzero(store.label("big")))

    def test_of_many_an_evenly_spaced_part_is_kept(self, tmp_path: Path, make_store: Callable[..., Store]) -> None:
        whole = make_store(tmp_path / "s", {"a": {"image": np.zeros((40, 40, 20)), "label": np.full((40, 40, 20), 5)}})
        voxels = foreground_voxels(whole, task(), "a")
        assert MAX_FOREGROUND_VOXELS / 2 < len(voxels) <= MAX_FOREGROUND_VOXELS
        assert set(np.diff(voxels)) == {4}

    def test_a_case_without_target_has_none(self, store: Store) -> None:
        assert len(foreground_voxels(store, task(), "void")) == 0


class TestForegroundCrops:
    @pytest.mark.parametrize(("centred", "least", "most"), [(0.0, 0.0, 0.1), (0.5, 0.4, 0.65), (1.0, 1.0, 1.0)])
    def test_the_wanted_share_is_centred_in_the_target(
        self, store: Store, centred: float, least: float, most: float
    ) -> None:
        label, crops = store.label("big"), drawn(store, task(centred=centred), "big")
        inside = [label[tuple(int(v) for v in crop.centre)] > 0 for crop in crops]
        assert least <= np.mean(inside) <= most

    def test_crops_that_are_not_centred_lie_in_the_image_and_reach_its_ends(self, store: Store) -> None:
        starts = np.array([crop.centre for crop in drawn(store, task(centred=0.0), "big", 2000)]) - 4
        assert starts.min(axis=0).tolist() == [0, 0, 0]
        assert starts.max(axis=0).tolist() == [40 - 8, 32 - 8, 24 - 8]

    def test_a_border_keeps_crops_away_from_the_faces_where_the_image_is_large_enough(self, store: Store) -> None:
        for centred in (0.0, 1.0):
            crops = drawn(store, task(centred=centred, border=(6, 3, 50)), "big", 500)
            starts = np.array([crop.centre for crop in crops]).astype(int) - 4
            assert starts.min(axis=0).tolist()[:2] >= [6, 3]
            assert (starts.max(axis=0) <= [40 - 8 - 6, 32 - 8 - 3, 8]).all()
            assert (starts[:, 2] == 8).all()

    def test_an_image_smaller_than_the_patch_lies_in_its_middle(self, store: Store) -> None:
        card = task(centred=0.0)
        crop = drawn(store, card, "tiny", 1)[0]
        image, truth = cut_crop(store, card, crop)
        assert image.shape == (8, 8, 8)
        assert image.any(axis=(1, 2)).tolist() == [False, False, True, True, True, True, False, False]
        assert image.any(axis=(0, 1)).sum() == 3
        assert truth.any()

    def test_crops_obey_the_wanted_fraction_of_target(self, store: Store) -> None:
        card = task(target_fraction=(0.2, 0.6))
        shares = [cut_crop(store, card, crop)[1].mean() for crop in drawn(store, card, "big")]
        assert np.mean([0.2 <= share <= 0.6 for share in shares]) > 0.97

    def test_where_no_place_has_that_fraction_the_last_one_drawn_stands(self, store: Store) -> None:
        assert len(drawn(store, task(target_fraction=(0.9, 1)), "void", 2)) == 2

    def test_ids_carry_the_number_and_the_same_generator_draws_the_same_crops(self, store: Store) -> None:
        crops = drawn(store, task(), "big", 3)
        assert [crop.id for crop in crops] == ["big#0", "big#1", "big#2"]
        assert crops == drawn(store, task(), "big", 3)
