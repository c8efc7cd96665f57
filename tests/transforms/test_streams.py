from __future__ import annotations

import numpy as np
import pytest
import torch

from sg_bench.transforms import kernels
from sg_bench.transforms.base import uniform_noise
from sg_bench.transforms.streams import GOLDEN, RandomStreams, mix


def test_numbers_are_a_function_of_key_and_position() -> None:
    drawn = RandomStreams([5, 2**62 + 5, 5]).random(100)
    assert (drawn[0] == drawn[2]).all()
    assert (drawn[0] != drawn[1]).all()
    parts = RandomStreams([5, 2**62 + 5, 5])
    assert (np.concatenate([parts.random(40), parts.random(60)], axis=1) == drawn).all()
    assert (RandomStreams([2**62 + 5]).random(100) == drawn[1]).all()


def test_all_numbers_of_a_key_count() -> None:
    drawn = RandomStreams([(1, 2, 3), (1, 3, 2), (3, 2, 1), (0, 2, 3)]).random(50)
    assert len(np.unique(drawn)) == drawn.size


def test_numbers_never_change() -> None:
    assert RandomStreams([0, 2**63 - 1]).words(2).tolist() == [
        [2558736989570252433, 17913671590881668180],
        [7333329389124002025, 16011519628808452254],
    ]


@pytest.mark.parametrize(("keys", "count"), [(8, 50_000), (400_000, 1)], ids=["along positions", "along keys"])
def test_words_fill_64_bits_evenly(keys: int, count: int) -> None:
    drawn = RandomStreams(range(keys)).words(count)
    shares = [float((drawn >> np.uint64(bit) & np.uint64(1)).mean()) for bit in range(64)]
    assert np.abs(np.array(shares) - 0.5).max() < 0.004


@pytest.mark.parametrize(
    "keys",
    [range(40), [1 << bit for bit in range(63)], [number << 32 for number in range(40)]],
    ids=["consecutive", "one bit", "upper half"],
)
def test_similar_keys_give_unrelated_streams(keys: list[int]) -> None:
    streams = RandomStreams(list(keys)).random(4096)
    correlation = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlation).max() < 0.1
    assert len(np.unique(streams)) == streams.size


def test_distributions_have_their_moments() -> None:
    streams = RandomStreams(range(200))
    uniform, normal = streams.random(1000), streams.normal(1000)
    assert 0 <= uniform.min() < uniform.max() < 1
    assert (uniform.mean(), uniform.var()) == pytest.approx((0.5, 1 / 12), abs=0.003)
    assert (normal.mean(), normal.var(), (normal**4).mean()) == pytest.approx((0, 1, 3), abs=0.06)


def test_integers_reach_both_ends_equally_often_and_follow_their_bounds() -> None:
    drawn = RandomStreams(range(600)).integers(2, 7, 100)
    assert np.bincount(drawn.ravel()).tolist() == [0, 0, *[pytest.approx(10_000, rel=0.05)] * 6]
    high = np.array([0, 3, 9])
    bounded = RandomStreams(range(600)).integers(0, high, 100, 3)
    assert bounded.max(axis=(0, 1)).tolist() == high.tolist()


def test_every_permutation_is_equally_likely() -> None:
    orders, counts = np.unique(RandomStreams(range(6000)).permutation(3), axis=0, return_counts=True)
    assert len(orders) == 6
    np.testing.assert_allclose(counts, 1000, rtol=0.15)


def test_seeds_have_63_bits() -> None:
    seeds = RandomStreams(range(50)).seeds()
    assert seeds.shape == (50,)
    assert 2**61 < seeds.max() < 2**63
    assert seeds.min() >= 0


def test_compiled_loops_draw_the_same_words() -> None:
    seed, positions = np.uint64(123456789), np.arange(4, dtype=np.uint64)
    words = [int(kernels._word(seed, position)) for position in positions]
    assert words == mix(seed + (positions + np.uint64(1)) * GOLDEN).tolist()


def test_noise_images_are_uniform_and_neighbours_are_unrelated() -> None:
    field = uniform_noise(torch.tensor([3]), (64, 64, 32))[0, 0]
    assert float(field.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(field.var()) == pytest.approx(1 / 12, abs=0.002)
    for axis in range(3):
        near = torch.stack([field.narrow(axis, 0, 31).flatten(), field.narrow(axis, 1, 31).flatten()])
        assert abs(float(torch.corrcoef(near)[0, 1])) < 0.015
