from __future__ import annotations

import numpy as np
import pytest
import torch

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.masking import PatchMask
from sg_bench.transforms.streams import RandomStreams


@pytest.mark.parametrize(
    ("side", "shape", "patch", "grid"),
    [
        (8, (64, 64, 32), (8, 8, 8), (8, 8, 4)),
        (8, (16, 16, 8), (4, 4, 4), (4, 4, 2)),
        (8, (8, 8, 8), (4, 4, 4), (2, 2, 2)),
        (32, (224, 224, 1), (32, 32, 1), (7, 7, 1)),
        (32, (64, 64, 1), (16, 16, 1), (4, 4, 1)),
        (8, (20, 16, 16), (8, 8, 8), (3, 2, 2)),
        (8, (2, 1, 1), (1, 1, 1), (2, 1, 1)),
    ],
)
def test_patches_are_as_large_as_told_but_halved_until_there_are_eight(
    side: int, shape: Shape, patch: Shape, grid: Shape
) -> None:
    mask = PatchMask(settings.PatchMaskSettings(patch=side))
    assert mask.patch(shape) == patch
    assert mask.sample(RandomStreams([0]), shape)["visible"].shape == (1, *grid)


@pytest.mark.parametrize(("ratio", "blanked"), [(0.6, 154), (0.999, 255), (0.001, 1)])
def test_the_same_share_is_blanked_in_every_image_never_all_and_never_none(ratio: float, blanked: int) -> None:
    mask = PatchMask(settings.PatchMaskSettings(ratio=ratio))
    visible = mask.sample(RandomStreams(range(5)), (64, 64, 32))["visible"]
    assert (~visible).sum(axis=(1, 2, 3)).tolist() == [blanked] * 5


def test_every_patch_is_blanked_equally_often() -> None:
    mask = PatchMask(settings.PatchMaskSettings())
    drawn = mask.sample(RandomStreams(range(1000)), (64, 64, 32))["visible"]
    np.testing.assert_allclose(1 - np.mean(drawn, axis=0), 154 / 256, atol=0.08)


def test_blanked_voxels_are_zero_and_visible_ones_as_they_were() -> None:
    mask = PatchMask(settings.PatchMaskSettings(patch=2, least_patches=2))
    image = torch.arange(1.0, 17).view(1, 1, 4, 4, 1)
    visible = torch.tensor([[True, False], [False, True]]).view(1, 2, 2, 1)
    blanked = mask.apply(image, {"visible": visible})[0, 0, :, :, 0]
    assert blanked.tolist() == [[1, 2, 0, 0], [5, 6, 0, 0], [0, 0, 11, 12], [0, 0, 15, 16]]
