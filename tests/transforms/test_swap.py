from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.streams import RandomStreams
from sg_bench.transforms.swap import PatchSwap

shapes = st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(1, 12))


def test_a_swap_swaps() -> None:
    swap = PatchSwap(settings.PatchSwapSettings(swaps=1, patch=(2, 1, 1)))
    image = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]).view(1, 1, 4, 3, 1)
    swapped = swap.apply(image, {"starts": torch.tensor([[[[0, 0, 0], [2, 1, 0]]]])})
    assert swapped[0, 0, :, :, 0].tolist() == [[8, 2, 3], [11, 5, 6], [7, 1, 9], [10, 4, 12]]


def test_a_later_swap_moves_an_earlier_one_on() -> None:
    swap = PatchSwap(settings.PatchSwapSettings(swaps=2, patch=(1, 1, 1)))
    starts = torch.tensor([[[[0, 0, 0], [1, 0, 0]], [[1, 0, 0], [2, 0, 0]]]])
    assert swap.apply(torch.tensor([1.0, 2, 3]).view(1, 1, 3, 1, 1), {"starts": starts}).flatten().tolist() == [2, 3, 1]


@examples(max_examples=60, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_the_patches_of_a_pair_lie_apart_and_inside_the_image_whatever_its_size(shape: Shape, seed: int) -> None:
    swap = PatchSwap(settings.PatchSwapSettings())
    starts, patch = swap.sample(RandomStreams([seed]), shape)["starts"][0], swap.patch(shape)
    assert (starts >= 0).all()
    assert (starts + patch <= shape).all()
    apart = (abs(starts[:, 0] - starts[:, 1]) >= patch).any(axis=1)
    assert apart.all() == (max(shape) > 1)


@examples(max_examples=30, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_swapping_loses_and_invents_no_voxel(shape: Shape, seed: int) -> None:
    swap = PatchSwap(settings.PatchSwapSettings())
    image = torch.arange(float(np.prod(shape))).view(1, 1, *shape)
    swapped = swap.apply(image, sample_batch(swap, [seed], shape))
    assert swapped.flatten().sort().values.tolist() == image.flatten().tolist()


@pytest.mark.parametrize(
    ("shape", "patch", "share"), [((64, 64, 32), (8, 8, 4), 0.037), ((224, 224, 1), (8, 8, 1), 0.025)]
)
def test_ten_swaps_move_the_share_of_the_image_that_twenty_patches_fill(
    shape: Shape, patch: Shape, share: float
) -> None:
    swap = PatchSwap(settings.PatchSwapSettings(patch=patch))
    image = torch.arange(float(np.prod(shape))).view(1, 1, *shape).expand(8, -1, -1, -1, -1)
    moved = swap.apply(image, sample_batch(swap, range(8), shape)) != image
    assert float(moved.double().mean()) == pytest.approx(share, abs=0.003)


def test_places_are_uniform_but_for_the_overlap() -> None:
    swap = PatchSwap(settings.PatchSwapSettings(swaps=4000, patch=(1, 1, 1)))
    first, second = swap.sample(RandomStreams([0]), (4, 1, 1))["starts"][0, :, :, 0].T
    counts = np.bincount(4 * first + second, minlength=16).reshape(4, 4)
    assert np.diag(counts).tolist() == [0] * 4
    np.testing.assert_allclose(counts[~np.eye(4, dtype=bool)], 4000 / 12, rtol=0.2)
