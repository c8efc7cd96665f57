from __future__ import annotations

import numpy as np
import pytest
import torch

from sg_bench.transforms.noise import below, draw_seed, random_words, uniform


def test_words_are_a_function_of_seed_and_position() -> None:
    seeds = torch.tensor([5, 2**62 + 5, 5])
    drawn = random_words(seeds, 100)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(random_words(seeds, 60, start=40), drawn[:, 40:])


def test_words_never_change() -> None:
    assert random_words(torch.tensor([0, 2**63 - 1]), 3).tolist() == [
        [3102772229, 755967184, 2204671185],
        [4197156680, 1325916649, 3972362633],
    ]


@pytest.mark.parametrize(("seeds", "count"), [(8, 50_000), (400_000, 1)], ids=["along positions", "along seeds"])
def test_words_fill_32_bits_evenly(seeds: int, count: int) -> None:
    drawn = random_words(torch.arange(seeds), count)
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < 2**32
    shares = torch.stack([(drawn >> bit & 1).double().mean() for bit in range(32)])
    assert float((shares - 0.5).abs().max()) < 0.004


@pytest.mark.parametrize(
    "seeds",
    [range(40), [1 << bit for bit in range(63)], [number << 32 for number in range(40)]],
    ids=["consecutive", "one bit", "upper half"],
)
def test_similar_seeds_give_unrelated_fields(seeds: list[int]) -> None:
    fields = random_words(torch.tensor(list(seeds)), 4096).double()
    correlation = torch.corrcoef(fields) - torch.eye(len(fields))
    assert float(correlation.abs().max()) < 0.1
    assert len(fields.unique()) >= fields.numel() - 20  # chance alone makes some 8 of 2**18 words meet


def test_uniform_noise_has_the_moments_of_a_uniform_distribution_and_no_neighbours_correlation() -> None:
    field = uniform(torch.tensor([3]), (64, 64, 32))[0, 0]
    assert float(field.min()) >= 0
    assert float(field.max()) < 1
    assert float(field.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(field.var()) == pytest.approx(1 / 12, abs=0.002)
    for axis in range(3):
        near = torch.stack([field.narrow(axis, 0, 31).flatten(), field.narrow(axis, 1, 31).flatten()])
        assert abs(float(torch.corrcoef(near)[0, 1])) < 0.015


def test_bounded_integers_reach_both_ends_and_stay_inside() -> None:
    ends = torch.tensor([0, 2**32 - 1])
    assert below(ends, torch.tensor(6)).tolist() == [0, 5]
    counts = torch.bincount(below(random_words(torch.tensor([1]), 60_000)[0], torch.tensor(6)))
    assert counts.tolist() == pytest.approx([10_000] * 6, rel=0.05)


def test_a_drawn_seed_is_a_scalar_of_63_bits() -> None:
    seeds = [draw_seed(rng) for rng in np.random.default_rng(0).spawn(50)]
    assert all(seed.shape == () and seed.dtype == np.int64 and seed >= 0 for seed in seeds)
    assert max(seeds) > 2**61
