from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from sg_bench.config import Shape
from sg_bench.errors import MethodError
from sg_bench.transforms import settings
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.streams import RandomStreams
from sg_bench.transforms.turns import QuarterTurns

IN_PLANE = QuarterTurns(settings.QuarterTurnsSettings())
ALL = QuarterTurns(settings.QuarterTurnsSettings(axes="all"))


def test_the_four_turns_of_a_plane_are_these() -> None:
    plane = torch.tensor([[1, 2], [3, 4]]).view(1, 1, 2, 2, 1).expand(4, -1, -1, -1, -1)
    turned = IN_PLANE.apply(plane, {"turn": torch.arange(4)})[:, 0, :, :, 0]
    assert turned.tolist() == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


def test_the_ten_turns_of_a_cube_differ_and_each_keeps_its_own_axis() -> None:
    cube = torch.arange(27.0).view(1, 1, 3, 3, 3).expand(10, -1, -1, -1, -1)
    turned = ALL.apply(cube, {"turn": torch.arange(10)})[:, 0]
    assert len({tuple(image.flatten().tolist()) for image in turned}) == 10
    assert torch.equal(turned[1:4, 1, 1, :], cube[0, 0, 1, 1, :].expand(3, -1))  # about z
    assert torch.equal(turned[4:7, :, 1, 1], cube[0, 0, :, 1, 1].expand(3, -1))  # about x
    assert torch.equal(turned[7:, 1, :, 1], cube[0, 0, 1, :, 1].expand(3, -1))  # about y


@pytest.mark.parametrize("turns", [IN_PLANE, ALL], ids=["in_plane", "all"])
def test_every_turn_is_drawn_equally_often(turns: QuarterTurns) -> None:
    counts = np.bincount(turns.sample(RandomStreams(range(2000)), (8, 8, 8))["turn"])
    assert len(counts) == turns.ways
    np.testing.assert_allclose(counts, 2000 / turns.ways, rtol=0.3)


def test_turning_leaves_the_images_alone_and_replays_bit_for_bit() -> None:
    images = torch.from_numpy(np.random.default_rng(0).random((6, 1, 8, 8, 4), np.float32))
    before = images.clone()
    params = sample_batch(IN_PLANE, range(6), (8, 8, 4))
    turned = IN_PLANE.apply(images, params)
    assert turned.shape == images.shape
    assert torch.equal(IN_PLANE.apply(images, params), turned)
    assert torch.equal(images, before)
    assert not torch.equal(turned, images)


@pytest.mark.parametrize(
    ("axes", "shape", "wanted"),
    [("z", (8, 16, 8), r"a square plane \(X = Y\), not \(8, 16, 8\)"), ("all", (16, 16, 8), "cubic images")],
)
def test_a_turn_that_would_change_the_shape_is_refused(axes: Literal["z", "all"], shape: Shape, wanted: str) -> None:
    with pytest.raises(MethodError, match=wanted) as caught:
        QuarterTurns(settings.QuarterTurnsSettings(axes=axes)).sample(RandomStreams([0]), shape)
    assert "cube" in caught.value.hint
