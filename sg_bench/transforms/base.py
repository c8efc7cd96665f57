"""Base class of transforms, with one method that samples random parameters and one that applies them.

Applying has no randomness of its own. So a corrupted image can be reproduced from its parameters, and a batch equals
its samples corrupted one by one, bit for bit. Noise is computed from a seed among the parameters (`noise.py`).
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
"""Random parameters of one image; for one transform and image shape, keys and shapes are always the same."""


class Transform(ABC):
    """A transform of images, or a composition of several."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return random parameters for one image of `shape` (x, y, z), drawn from `rng` alone."""

    @abstractmethod
    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the transformed images, as a function of the arguments alone; `images` is not changed.

        Args:
            images: (B, C, X, Y, Z), floating point, in [0, 1], on any device; 2D images have Z = 1.
            params: from `sample`, stacked along the batch axis, on any device.

        Returns:
            Images of the same shape, dtype, device and range; `images` itself if no image is transformed.
        """


class Sampler(Protocol):
    """A transform or a corruption, as far as sampling parameters goes."""

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return random parameters for one image of `shape` (x, y, z)."""


def sample_batch(sampler: Sampler, rngs: Sequence[np.random.Generator], shape: Shape) -> dict[str, Tensor]:
    """Return parameters of a batch, on the CPU: one image for each generator.

    Raises:
        ValueError: `rngs` is empty.
    """
    if not rngs:
        raise ValueError("a batch needs at least one generator, but rngs is empty")
    return stack_params([sampler.sample(rng, shape) for rng in rngs])


def stack_params(samples: Sequence[Params]) -> dict[str, Tensor]:
    """Return the parameters of single images, stacked along a batch axis, as tensors on the CPU."""
    return {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}


def add_prefix(name: str, params: Mapping[str, NDArray[Any]]) -> Params:
    """Return `params` under the keys "name.key", as compositions store the parameters of their parts."""
    return {f"{name}.{key}": value for key, value in params.items()}


def remove_prefix(params: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the parameters whose keys are "name.key", under "key"."""
    return {key.removeprefix(f"{name}."): value for key, value in params.items() if key.startswith(f"{name}.")}


def spatial_shape(images: Tensor) -> Shape:
    """Return (x, y, z) of (B, C, X, Y, Z)."""
    x, y, z = images.shape[2:]
    return x, y, z
