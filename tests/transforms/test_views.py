"""Random views are functions of their parameters, and those that change nothing change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.settings import ViewSettings
from sg_bench.transforms.tiles import permutations, pieces_of, side_by_side
from sg_bench.transforms.views import RandomView

STILL: dict[str, Any] = {"scale": (1, 1), "aspect": 1, "flip": 0, "intensity": 0, "blur": 0, "noise": 0}


def images(count: int = 3, shape: Shape = (12, 10, 8)) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((count, 1, *shape)).astype(np.float32))


def view(size: Shape | None = None, **settings: Any) -> RandomView:
    return RandomView(ViewSettings.model_validate(settings), size)


def test_a_view_of_everything_is_the_image() -> None:
    still = view(**STILL)
    torch.testing.assert_close(still.apply(images(), sample_batch(still, [1, 2, 3], (12, 10, 8))), images())


def test_a_flip_is_along_x_alone() -> None:
    flips = view(**{**STILL, "flip": 1})
    flipped = flips.apply(images(), sample_batch(flips, [1, 2, 3], (12, 10, 8)))
    torch.testing.assert_close(flipped, images().flip(2))


@pytest.mark.parametrize("shape", [(12, 10, 8), (32, 32, 1)])
def test_a_batch_equals_its_images_made_one_by_one_and_its_views_differ(shape: Shape) -> None:
    random, keys = view(), [1, 2, 3]
    whole = random.apply(images(3, shape), sample_batch(random, keys, shape))
    alone = [random.apply(images(3, shape)[[row]], sample_batch(random, [key], shape)) for row, key in enumerate(keys)]
    assert torch.equal(whole, torch.cat(alone))
    other = random.apply(images(3, shape), sample_batch(random, [4, 5, 6], shape))
    assert not torch.allclose(whole, other, atol=0.01)
    assert 0 <= whole.min() < whole.max() <= 1


def test_a_small_view_has_its_own_size_and_the_range_of_the_crop() -> None:
    small = view((4, 4, 4), **{**STILL, "scale": (0.1, 0.1)})
    params = sample_batch(small, list(range(50)), (12, 10, 8))
    assert params["sides"].prod(1).numpy() == pytest.approx(0.1)
    assert float((params["sides"] + params["starts"]).max()) <= 1
    assert small.apply(images(50), params).shape == (50, 1, 4, 4, 4)


def test_blur_keeps_a_constant_image_and_smooths_another() -> None:
    blurred = view(**{**STILL, "blur": 1, "sigma": (2, 2)})
    params = sample_batch(blurred, [1, 2, 3], (12, 10, 8))
    torch.testing.assert_close(blurred.apply(torch.full((3, 1, 12, 10, 8), 0.3), params).mean(), torch.tensor(0.3))
    assert blurred.apply(images(), params).std() < 0.3 * images().std()


def test_pieces_that_do_not_fit_an_encoder_are_enlarged() -> None:
    pieces = torch.rand(2, 3, 1, 5, 8, 8)
    joined = side_by_side(pieces, (8, 8, 8))
    assert joined.shape == (2, 1, 24, 8, 8)
    assert pieces_of(joined, 3).shape == (6, 1, 8, 8, 8)
    fitting = torch.rand(2, 3, 1, 8, 8, 8)
    assert torch.equal(pieces_of(side_by_side(fitting, (8, 8, 8)), 3), fitting.flatten(0, 1))


def test_orders_are_distinct_permutations_far_from_each_other() -> None:
    few = permutations(6, 4)
    assert few[0].tolist() == [0, 1, 2, 3]
    assert len({tuple(row) for row in few.tolist()}) == 6
    assert all(sorted(row) == [0, 1, 2, 3] for row in few.tolist())
    many = permutations(20, 9)
    distances = [(one != other).sum() for place, one in enumerate(many) for other in many[:place]]
    assert min(distances) >= 7
