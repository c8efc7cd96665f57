"""How long corrupting takes: the presets for each batch, and the vectorised shuffle against a loop over blocks."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.presets import preset
from sg_bench.transforms.shuffle import LocalShuffle

PAPER, SMALL = (64, 64, 32), (16, 16, 8)


@pytest.mark.parametrize(("shape", "batch"), [(PAPER, 6), (SMALL, 16)], ids=["64x64x32", "16x16x8"])
@pytest.mark.parametrize("name", ["models_genesis", "semantic_genesis_keras", "semantic_genesis_pytorch"])
def test_preset(benchmark: BenchmarkFixture, name: str, shape: Shape, batch: int) -> None:
    corruption = preset(name)
    images = torch.rand((batch, 1, *shape), generator=torch.Generator().manual_seed(0))
    draws = [sample_batch(corruption, np.random.default_rng(seed).spawn(batch), shape) for seed in range(5)]
    benchmark(lambda: [corruption.corrupt(images, params) for params in draws])
    benchmark.extra_info["batches_a_round"] = len(draws)


def test_sampling(benchmark: BenchmarkFixture) -> None:
    corruption, rngs = preset("models_genesis"), np.random.default_rng(0).spawn(64)
    benchmark(sample_batch, corruption, rngs, PAPER)


def test_vectorised_shuffle_against_a_loop_over_blocks(benchmark: BenchmarkFixture) -> None:
    transform = LocalShuffle(settings.ShuffleSettings())
    images = torch.rand((1, 1, *PAPER), generator=torch.Generator().manual_seed(0))
    params = {"seed": torch.tensor([1])}
    benchmark(transform.apply, images, params)
    started = time.perf_counter()
    for seed in range(3):
        _loop(images[0, 0].numpy(), np.random.default_rng(seed))
    plain = (time.perf_counter() - started) / 3
    if benchmark.stats:  # None where benchmarks only run as tests
        benchmark.extra_info["times_faster_than_a_loop"] = plain / benchmark.stats.stats.median


def _loop(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    corrupted = image.copy()
    for _ in range(10_000):
        sides = rng.integers(1, [6, 6, 3], endpoint=True)
        starts = rng.integers(0, image.shape - sides, endpoint=True)
        box = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        corrupted[box] = rng.permutation(image[box].ravel()).reshape(sides)
    return corrupted
