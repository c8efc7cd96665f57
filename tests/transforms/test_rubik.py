from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.errors import MethodError
from sg_bench.transforms import settings
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.rubik import RubiksCube, joined, permutations, taken_apart
from sg_bench.transforms.streams import RandomStreams

CUBE = RubiksCube(settings.RubiksCubeSettings())
SHAPE = (16, 16, 16)


def params_of(order: int = 0, starts: Tensor | None = None, turned: Tensor | None = None) -> dict[str, Tensor]:
    return {
        "order": torch.tensor([order]),
        "starts": torch.zeros(1, 8, 3, dtype=torch.int64) if starts is None else starts,
        "turned": torch.zeros(1, 8, 2, dtype=torch.bool) if turned is None else turned,
    }


def numbered(shape: Shape = SHAPE) -> Tensor:
    return torch.arange(float(np.prod(shape))).view(1, 1, *shape)


def distances(count: int) -> np.ndarray:
    chosen = permutations(count)
    return (chosen[:, None] != chosen[None]).sum(axis=2)[~np.eye(count, dtype=bool)]


class TestPermutations:
    def test_each_is_a_permutation_and_the_first_changes_nothing(self) -> None:
        assert permutations(100)[0].tolist() == list(range(8))
        assert (np.sort(permutations(100), axis=1) == np.arange(8)).all()

    @pytest.mark.parametrize(("count", "least"), [(8, 8), (9, 7), (56, 7), (57, 6), (100, 6)])
    def test_any_two_differ_in_as_many_places_as_is_possible(self, count: int, least: int) -> None:
        # 8 rows of a Latin square differ everywhere; 56 permutations of 8, and no more, can differ in 7 places.
        assert distances(count).min() == least

    def test_they_are_the_same_every_time_and_more_of_them_begin_alike(self) -> None:
        known = permutations(60).copy()
        permutations.cache_clear()
        assert (permutations(100)[:60] == known).all()


class TestPieces:
    @pytest.mark.parametrize(
        ("shape", "piece"),
        [
            ((128, 128, 64), (48, 48, 24)),
            ((64, 64, 32), (16, 16, 8)),
            ((16, 16, 16), (8, 8, 8)),
            ((40, 24, 20), (8, 8, 8)),
        ],
    )
    def test_a_sub_cube_is_an_eighth_less_the_gap_in_multiples_of_8(self, shape: Shape, piece: Shape) -> None:
        assert CUBE.piece(shape) == piece

    @pytest.mark.parametrize("shape", [(16, 16, 8), (14, 64, 64)])
    def test_a_cube_without_room_for_the_least_sub_cubes_is_refused(self, shape: Shape) -> None:
        with pytest.raises(MethodError, match=r"no 2x2x2 sub-cubes of 8 voxels") as caught:
            CUBE.sample(RandomStreams([0]), shape)
        assert "crops.cube to 16 or more" in caught.value.hint

    def test_a_sub_cube_lies_anywhere_in_its_eighth(self) -> None:
        starts = CUBE.sample(RandomStreams(range(60)), (128, 128, 64))["starts"]
        assert starts.min(axis=(0, 1)).tolist() == [0, 0, 0]
        assert starts.max(axis=(0, 1)).tolist() == [16, 16, 8]

    def test_a_third_of_them_is_turned_about_each_axis_independently(self) -> None:
        turned = CUBE.sample(RandomStreams(range(500)), SHAPE)["turned"]
        np.testing.assert_allclose(turned.mean(axis=(0, 1)), 1 / 3, atol=0.03)
        assert turned.all(axis=2).mean() == pytest.approx(1 / 9, abs=0.02)


class TestTwisting:
    def test_nothing_changes_in_the_first_order_without_turns_and_gaps(self) -> None:
        assert torch.equal(CUBE.apply(numbered(), params_of()), numbered())

    def test_each_place_shows_the_eighth_that_the_order_says(self) -> None:
        order = permutations(100)[57].tolist()
        twisted = taken_apart(CUBE.apply(numbered(), params_of(order=57)))[0]
        eighths = taken_apart(numbered())[0]
        assert order != sorted(order)
        assert all(torch.equal(twisted[place], eighths[eighth]) for place, eighth in enumerate(order))

    def test_a_turn_about_x_reverses_y_and_z_and_one_about_z_reverses_x_and_y(self) -> None:
        turned = torch.zeros(1, 8, 2, dtype=torch.bool)
        turned[0, 3, 0] = turned[0, 5, 1] = turned[0, 6] = True
        twisted, plain = (taken_apart(CUBE.apply(numbered(), params_of(turned=t)))[0, :, 0] for t in (turned, None))
        assert torch.equal(twisted[3], plain[3].flip(1, 2))
        assert torch.equal(twisted[5], plain[5].flip(0, 1))
        assert torch.equal(twisted[6], plain[6].flip(0, 2))
        assert all(torch.equal(twisted[place], plain[place]) for place in (0, 1, 2, 4, 7))

    def test_a_start_moves_the_sub_cube_inside_its_own_eighth(self) -> None:
        starts = torch.zeros(1, 8, 3, dtype=torch.int64)
        starts[0, 5] = torch.tensor([3, 1, 2])
        twisted = taken_apart(CUBE.apply(numbered((24, 24, 24)), params_of(starts=starts)))[0, 5, 0]
        assert torch.equal(twisted, numbered((24, 24, 24))[0, 0, 15:23, 1:9, 14:22])

    def test_taking_apart_undoes_joining(self) -> None:
        pieces = torch.from_numpy(np.random.default_rng(0).random((2, 8, 3, 4, 5, 6)))
        assert torch.equal(taken_apart(joined(pieces)), pieces)

    def test_the_same_keys_replay_the_same_cubes_and_leave_the_images_alone(self) -> None:
        images = torch.from_numpy(np.random.default_rng(0).random((3, 1, 32, 32, 32), np.float32))
        before = images.clone()
        params = [sample_batch(CUBE, [(seed, n) for n in range(3)], (32, 32, 32)) for seed in (0, 0, 1)]
        one, again, other = (CUBE.apply(images, each) for each in params)
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert torch.equal(images, before)
