"""How long corrupting a batch takes, against the plain way: one cube after the other, with NumPy and SciPy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import ndimage

from sg_bench.config import Shape
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.presets import preset

CUBE, FILM, SMALL = (64, 64, 32), (224, 224, 1), (16, 16, 8)
Image = NDArray[np.float32]


@pytest.mark.parametrize(
    ("shape", "batch"), [(CUBE, 64), (FILM, 16), (SMALL, 16)], ids=["64x64x32", "224x224", "16x16x8"]
)
@pytest.mark.parametrize("name", ["models_genesis", "semantic_genesis_pytorch"])
def test_a_batch(benchmark: BenchmarkFixture, name: str, shape: Shape, batch: int) -> None:
    torch.set_num_threads(1)
    settings = {"shuffle": {"blocks": 700}} if shape[2] == 1 and name == "models_genesis" else None
    corruption = preset(name, settings)
    images = torch.rand((batch, 1, *shape), generator=torch.Generator().manual_seed(0))
    seeds = iter(range(10**6))

    def ours() -> None:
        seed = next(seeds)
        params = sample_batch(corruption, [(seed, row) for row in range(batch)], shape)
        corruption.corrupt(images, params)

    ours()  # compiles
    benchmark.pedantic(ours, rounds=5)
    if benchmark.stats:  # None where benchmarks only run as tests
        ms = 1000 * statistics.median(timed(ours) for _ in range(5)) / batch
        benchmark.extra_info["processor_ms_an_image"] = round(ms, 2)
        if shape == CUBE:
            plain, cubes = PLAIN[name], images[:, 0].numpy()
            plain_ms = 1000 * statistics.mean(timed(lambda n=n: plain(cubes[n], n)) for n in range(batch))  # type: ignore[misc]
            benchmark.extra_info["plain_ms_an_image"] = round(plain_ms, 1)
            benchmark.extra_info["times_faster"] = round(plain_ms / ms, 1)


def timed(work: Callable[[], Any]) -> float:
    """Return the processor seconds of `work`."""
    started = time.process_time()
    work()
    return time.process_time() - started


def plain_models_genesis(cube: Image, seed: int) -> Image:
    """Corrupt one cube as Models Genesis does."""
    rng = np.random.default_rng(seed)
    out = cube.copy()
    for _ in range(3):
        if rng.random() >= 0.4:
            break
        axis = rng.integers(3)
        out = np.flip(out, axis - 1) if axis else out
    if rng.random() < 0.5:
        out = shuffled(out, 10_000, rng)
    if rng.random() < 0.9:
        out = mapped(out, rng)
    if rng.random() < 0.9:
        out = painted(out, rng, inside=rng.random() < 0.2, boxes=5)
    return out


def plain_semantic_genesis(cube: Image, seed: int) -> Image:
    """Corrupt one cube as Semantic Genesis does."""
    rng = np.random.default_rng(seed)
    fields = [991 * ndimage.gaussian_filter(rng.random(cube.shape) * 2 - 1, 8, mode="constant") for _ in range(2)]
    x, y, z = np.meshgrid(*map(np.arange, cube.shape), indexing="ij")
    out: Image = ndimage.map_coordinates(cube, (x + fields[0], y + fields[1], z), order=1, mode="reflect")
    choice = rng.integers(4)
    if choice == 0:
        return shuffled(out, 5, rng)
    return mapped(out, rng) if choice == 1 else painted(out, rng, inside=choice == 2, boxes=1)


def shuffled(cube: Image, blocks: int, rng: np.random.Generator) -> Image:
    out = cube.copy()
    sides = rng.integers(1, [6, 6, 3], size=(blocks, 3), endpoint=True)
    starts = rng.integers(0, np.array(cube.shape) - sides, endpoint=True)
    for (x, y, z), (dx, dy, dz) in zip(starts.tolist(), sides.tolist(), strict=True):
        block = cube[x : x + dx, y : y + dy, z : z + dz].ravel()
        rng.shuffle(block)
        out[x : x + dx, y : y + dy, z : z + dz] = block.reshape(dx, dy, dz)
    return out


def mapped(cube: Image, rng: np.random.Generator) -> Image:
    t = np.linspace(0, 1, 100_000)
    points = rng.random((2, 2))
    x, y = (3 * t * (1 - t) ** 2 * points[0, k] + 3 * t**2 * (1 - t) * points[1, k] + t**3 for k in range(2))
    return np.interp(cube, np.sort(x), y if rng.random() < 0.5 else np.sort(y)).astype(np.float32)


def painted(cube: Image, rng: np.random.Generator, *, inside: bool, boxes: int) -> Image:
    shape = np.array(cube.shape)
    low, high = (shape // 6, shape // 3) if inside else (shape - 4 * shape // 7, shape - 3 * shape // 7)
    out = cube.copy() if inside else rng.random(cube.shape, np.float32)
    for _ in range(boxes):
        sides = rng.integers(low, high, endpoint=True)
        starts = rng.integers(3, shape - sides - 3, endpoint=True)
        box = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        out[box] = rng.random(sides, np.float32) if inside else cube[box]
        if rng.random() >= 0.95:
            break
    return out


PLAIN = {"models_genesis": plain_models_genesis, "semantic_genesis_pytorch": plain_semantic_genesis}
