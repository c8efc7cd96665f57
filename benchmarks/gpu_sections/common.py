"""What the sections have in common: images, methods, draws, and how to time work on a GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from sg_bench.config import Shape
from sg_bench.data.cubes import ArrayCubes
from sg_bench.methods.base import Method
from sg_bench.registry import METHODS
from sg_bench.training.draws import Draw, epoch_batches
from sg_bench.training.pretraining import Pretraining, fresh_network

CUBE, FILM = (64, 64, 32), (224, 224, 1)


BATCH = 64


PATTERNS = 44
"""Pseudo-labels of the papers' chest CT."""


PRECISIONS = ("bfloat16", "tf32", "float32")


def cuda() -> torch.device:
    """Return the GPU."""
    return torch.device("cuda")


def timed(work: Callable[[], object], *, warm_up: int = 3, repeats: int = 10) -> float:
    """Return the median seconds of `work` on the GPU."""
    for _ in range(warm_up):
        work()
    times: list[float] = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return statistics.median(times)


@contextmanager
def arithmetic(precision: str) -> Any:
    """Set the precision of float32 matrix products and convolutions: TF32, or IEEE float32."""
    allowed = precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def configured(name: str, shape: Shape, **settings: Any) -> Method:
    """Return a method at the papers' width for images of one shape."""
    dimension = 2 if shape[2] == 1 else 3
    given = {"width": 32, "dimension": dimension, **settings}
    classes = PATTERNS if "patterns" in METHODS.config(name).needs else 0  # type: ignore[attr-defined]
    made: Method = METHODS.load(name)(METHODS.config(name).model_validate(given), classes)
    return made


def smooth_images(count: int, shape: Shape, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return (count, x, y, z) float16 images in [0, 1] that vary as slowly as anatomy does."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((count, 1, *(max(1, side // 8) for side in shape)), dtype=np.float32))
    images = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=False)[:, 0]
    return np.asarray(images.numpy(), np.float16)


def pretraining(method: Method, shape: Shape, samples: int) -> Pretraining:
    """Return the pretraining of a method on smooth images."""
    cubes = ArrayCubes(smooth_images(samples, shape), np.arange(samples) % PATTERNS)
    return Pretraining(method, fresh_network(method, 0), cubes, ArrayCubes(smooth_images(1, shape)[:0]), cuda())


def epoch_draws(steps: int, batch: int) -> Iterator[list[Draw]]:
    """Return the draws of an epoch over 32 samples."""
    return epoch_batches(0, 0, 0, samples=32, batch_size=batch, steps=steps)


def configure(*, deterministic: bool = True) -> None:
    """Configure torch as a worker process does."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic
