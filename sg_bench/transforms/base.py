"""The contract of a transform: random parameters and their pure application are two functions.

So every corrupted image can be replayed from its parameters, and a batch equals its samples corrupted one by one,
bit for bit. Whatever is random for each voxel grows from an integer seed among the parameters (`noise.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape

Params = dict[str, NDArray[Any]]
"""One sample's random parameters; keys and shapes are the same for every sample of a transform and image shape."""


class Transform(ABC):
    """One way to corrupt images, or a composition of several."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Draw the parameters of one image of `shape` (x, y, z), from `rng` alone."""

    @abstractmethod
    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the corrupted `images`, without chance and without changing `images`.

        Args:
            images: (B, C, X, Y, Z), floating, in [0, 1], on any device; an X-ray is an image with Z = 1.
            params: as `sample` draws them, stacked along the batch axis, on any device.

        Returns:
            As `images` in shape, dtype, device and range; `images` itself where there is nothing to do.
        """


class Sampler(Protocol):
    """Whatever draws parameters: a transform or a corruption."""

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Draw the parameters of one image of `shape` (x, y, z)."""


def sample_batch(sampler: Sampler, rngs: Sequence[np.random.Generator], shape: Shape) -> dict[str, Tensor]:
    """Return the parameters of one image for each of `rngs`, stacked along the batch axis, on the CPU.

    Raises:
        ValueError: `rngs` is empty.
    """
    if not rngs:
        raise ValueError("a batch needs at least one generator, but rngs is empty")
    return stacked([sampler.sample(rng, shape) for rng in rngs])


def stacked(samples: Sequence[Params]) -> dict[str, Tensor]:
    """Return the parameters of single images as tensors with a batch axis, on the CPU."""
    return {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}


def prefixed(name: str, params: Mapping[str, NDArray[Any]]) -> Params:
    """Return `params` with keys "name.key", as a composition keeps its parts' parameters."""
    return {f"{name}.{key}": value for key, value in params.items()}


def part_of(params: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the parameters that `prefixed` put under `name`, under their own keys."""
    return {key.removeprefix(f"{name}."): value for key, value in params.items() if key.startswith(f"{name}.")}


def spatial(images: Tensor) -> Shape:
    """Return (x, y, z) of (B, C, X, Y, Z)."""
    x, y, z = images.shape[2:]
    return x, y, z
