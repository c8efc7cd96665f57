from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sg_bench.tasks import Augmentation
from sg_bench.training.augmentation import AugmentationParams, apply_augmentation, sample_augmentation

SIZE = (48, 32, 1)
PATCH = (32, 32, 1)
NOTHING = AugmentationParams((0.5, 0.5), (1.0, 1.0), 0.0, (False, False), None)
EVERYTHING = Augmentation(area=(0.3, 1.0), rotation=20, intensity=1.0, distortion=1.0)


def film() -> np.ndarray:
    return np.random.default_rng(0).random(SIZE).astype(np.float16)


def drawn(seed: int, settings: Augmentation = EVERYTHING, flips: tuple[bool, bool, bool] = (True, True, True)) -> Any:
    return sample_augmentation(settings, flips, PATCH, np.random.default_rng(seed))


class TestApplying:
    def test_nothing_done_gives_the_film_itself(self) -> None:
        np.testing.assert_allclose(apply_augmentation(film(), SIZE, NOTHING), film(), atol=1e-6)

    def test_mirroring_is_exact_along_either_axis(self) -> None:
        for flipped, axes in (((True, False), 0), ((False, True), 1), ((True, True), (0, 1))):
            params = AugmentationParams((0.5, 0.5), (1.0, 1.0), 0.0, flipped, None)
            np.testing.assert_allclose(apply_augmentation(film(), SIZE, params), np.flip(film(), axes), atol=1e-6)

    def test_a_crop_is_cut_where_it_says(self) -> None:
        params = AugmentationParams((0.25, 0.75), (0.5, 0.5), 0.0, (False, False), None)
        np.testing.assert_allclose(apply_augmentation(film(), (24, 16, 1), params), film()[:24, 16:], atol=1e-6)

    def test_a_quarter_turn_of_a_square_is_exact(self) -> None:
        square = film()[:32]
        params = AugmentationParams((0.5, 0.5), (1.0, 1.0), np.pi / 2, (False, False), None)
        np.testing.assert_allclose(apply_augmentation(square, PATCH, params), np.rot90(square, -1), atol=1e-5)

    def test_film_and_mask_move_together(self) -> None:
        x, y = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
        disc = ((x - 38) ** 2 + (y - 25) ** 2 < 120)[..., None]
        for seed in range(20):
            params = sample_augmentation(
                Augmentation(area=(0.5, 1.0), rotation=20, distortion=1.0),
                (True, True, False),
                (64, 64, 1),
                np.random.default_rng(seed),
            )
            image = apply_augmentation(disc.astype(np.float16), (64, 64, 1), params)
            mask = apply_augmentation(disc, (64, 64, 1), params, label=True)
            assert set(np.unique(mask)) <= {0.0, 1.0}
            assert np.mean((image > 0.5) != (mask > 0)) < 0.01
            assert mask.any()

    def test_greys_change_the_film_and_not_the_mask(self) -> None:
        params = AugmentationParams((0.5, 0.5), (1.0, 1.0), 0.0, (False, False), None, gain=1.2, offset=-0.1, gamma=1.0)
        wanted = np.clip(film().astype(np.float32) * 1.2 - 0.1, 0, 1)
        np.testing.assert_allclose(apply_augmentation(film(), SIZE, params), wanted, atol=1e-6)
        mask = film() > 0.5
        np.testing.assert_array_equal(apply_augmentation(mask, SIZE, params, label=True), mask)

    def test_all_that_can_be_drawn_stays_a_film_in_range(self) -> None:
        for seed in range(60):
            out = apply_augmentation(film(), PATCH, drawn(seed))
            assert out.shape == PATCH
            assert out.dtype == np.float32
            assert out.min() >= 0
            assert out.max() <= 1
            assert out.std() > 0.01


class TestSampling:
    def test_by_default_nothing_is_drawn(self) -> None:
        for seed in range(10):
            assert drawn(seed, Augmentation(), (False, False, False)) == NOTHING

    def test_one_seed_gives_one_augmentation(self) -> None:
        one, again, other = (apply_augmentation(film(), PATCH, drawn(seed)) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)

    def test_crops_keep_the_wanted_share_and_lie_inside_the_film(self) -> None:
        for seed in range(200):
            params = drawn(seed, Augmentation(area=(0.08, 0.5)))
            assert 0.08 <= params.size[0] * params.size[1] <= 0.5
            assert 3 / 4 - 1e-9 <= params.size[0] / params.size[1] <= 4 / 3 + 1e-9
            for centre, size in zip(params.centre, params.size, strict=True):
                assert size / 2 - 1e-9 <= centre <= 1 - size / 2 + 1e-9

    @pytest.mark.parametrize(
        ("settings", "happens"),
        [
            (Augmentation(zoom=0.25), lambda v: v.size != (1.0, 1.0)),
            (Augmentation(intensity=0.25), lambda v: (v.gain, v.gamma) != (1.0, 1.0)),
            (Augmentation(distortion=0.25), lambda v: v.displacement is not None),
        ],
    )
    def test_chances_are_kept(self, settings: Augmentation, happens: Any) -> None:
        share = np.mean([happens(drawn(seed, settings)) for seed in range(800)])
        assert 0.2 < share < 0.3

    def test_only_allowed_axes_are_mirrored(self) -> None:
        found = {drawn(seed, Augmentation(), (True, False, False)).flipped for seed in range(50)}
        assert found == {(True, False), (False, False)}

    def test_rotations_reach_both_ends_and_no_further(self) -> None:
        angles = np.degrees([drawn(seed, Augmentation(rotation=7)).angle for seed in range(300)])
        assert -7 <= angles.min() < -6
        assert 6 < angles.max() <= 7

    def test_each_distortion_moves_pixels_by_a_small_share_of_the_film(self) -> None:
        moved = [drawn(seed, Augmentation(distortion=1.0)).displacement for seed in range(60)]
        largest = [np.abs(each).max() for each in moved]
        assert 0.001 < np.median(largest) < 0.1
        assert max(largest) < 0.25
