from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.shuffle import LocalShuffle

PAPER = (64, 64, 32)


def displaced(transform: LocalShuffle, seed: int, shape: Shape) -> torch.Tensor:
    """How far each voxel's value has come, along each axis: (3, X*Y*Z)."""
    strides = torch.tensor([shape[1] * shape[2], shape[2], 1])[:, None]
    sizes = torch.tensor(shape)[:, None]
    found = torch.from_numpy(transform.sources(seed, shape)).long()
    places = torch.stack([found, torch.arange(math.prod(shape))])
    source, own = (place // strides % sizes for place in places)
    return (source - own).abs()


@pytest.mark.parametrize(("blocks", "share"), [(5, 0.00086), (10_000, 0.784)])
def test_official_numbers_of_blocks_change_the_measured_share_of_a_cube(blocks: int, share: float) -> None:
    transform = LocalShuffle(settings.ShuffleSettings(blocks=blocks))
    repeats = 400 if blocks == 5 else 6
    own = np.arange(math.prod(PAPER))
    changed = [(transform.sources(seed, PAPER) != own).mean() for seed in range(repeats)]
    assert float(np.mean(changed)) == pytest.approx(share, rel=0.1 if blocks == 5 else 0.01)


@pytest.mark.parametrize(("blocks", "share"), [(5, 0.0010), (10_000, 0.82)])
def test_official_numbers_of_blocks_cover_the_share_that_the_protocol_states(blocks: int, share: float) -> None:
    transform = LocalShuffle(settings.ShuffleSettings(blocks=blocks))
    covered = []
    for seed in range(400 if blocks == 5 else 4):
        cover = torch.zeros(PAPER, dtype=torch.bool)
        for x, y, z, dx, dy, dz in transform.blocks(seed, PAPER).tolist():
            cover[x : x + dx, y : y + dy, z : z + dz] = True
        covered.append(cover.double().mean())
    assert float(torch.stack(covered).mean()) == pytest.approx(share, rel=0.12 if blocks == 5 else 0.01)


def test_official_blocks_have_sides_of_1_to_6_1_to_6_and_1_to_3_and_lie_anywhere() -> None:
    starts, sides = np.split(LocalShuffle(settings.ShuffleSettings()).blocks(1, PAPER).T, 2)
    assert [np.bincount(side)[1:].tolist() for side in sides] == [
        pytest.approx([10_000 / 6] * 6, rel=0.1),
        pytest.approx([10_000 / 6] * 6, rel=0.1),
        pytest.approx([10_000 / 3] * 3, rel=0.1),
    ]
    ends = (starts + sides).max(axis=1)
    assert starts.min(axis=1).tolist() == [0, 0, 0]
    assert ends.tolist() == list(PAPER)


@examples(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 24), st.integers(2, 24), st.integers(1, 12)),
    blocks=st.integers(1, 60),
    divisor=st.integers(2, 12),
    seed=st.integers(0, 2**63 - 1),
)
def test_values_come_from_within_a_block(shape: Shape, blocks: int, divisor: int, seed: int) -> None:
    far = displaced(LocalShuffle(settings.ShuffleSettings(blocks=blocks, side_divisor=divisor)), seed, shape).amax(1)
    longest = [min(side, max(side // divisor, 2)) for side in shape]
    assert all(int(moved) < side for moved, side in zip(far, longest, strict=True))


@examples(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63 - 1))
def test_a_single_block_is_a_permutation(seed: int) -> None:
    sources = LocalShuffle(settings.ShuffleSettings(blocks=1, side_divisor=2)).sources(seed, (12, 10, 6))
    assert sorted(sources.tolist()) == list(range(720))


def test_every_permutation_of_a_block_is_equally_likely() -> None:
    transform = LocalShuffle(settings.ShuffleSettings(blocks=1, side_divisor=1, side_floor=1))
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(4000):
        if transform.blocks(seed, (3, 1, 1))[0, 3] == 3:
            order = tuple(transform.sources(seed, (3, 1, 1)).tolist())
            seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 6
    assert list(seen.values()) == pytest.approx([sum(seen.values()) / 6] * 6, rel=0.2)


def test_later_blocks_overwrite_and_all_read_the_original() -> None:
    transform, shape = LocalShuffle(settings.ShuffleSettings(blocks=200, side_divisor=3)), (18, 15, 9)
    starts, sides = np.split(transform.blocks(4, shape).T, 2)
    source = torch.from_numpy(transform.sources(4, shape)).long().view(shape)
    flat = torch.arange(math.prod(shape)).view(shape)
    last = torch.full(shape, -1)
    boxes = [tuple(slice(s, s + d) for s, d in zip(a, b, strict=True)) for a, b in zip(starts.T, sides.T, strict=True)]
    for number, box in enumerate(boxes):
        last[box] = number
    for number, box in enumerate(boxes):
        won = source[box][last[box] == number]
        assert set(won.tolist()) <= set(flat[box].flatten().tolist())
    assert torch.equal(source[last < 0], flat[last < 0])


def test_small_patches_are_not_left_alone() -> None:
    changed = displaced(LocalShuffle(settings.ShuffleSettings()), 0, (16, 16, 8)).any(0).double().mean()
    assert float(changed) > 0.5
