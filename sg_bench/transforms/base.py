"""Base class of transforms, with one method that samples random parameters and one that applies them.

Applying has no randomness of its own. So a corrupted image can be reproduced from its parameters, and a batch equals
its samples corrupted one by one, bit for bit. Noise is computed from a seed among the parameters (`streams.py`).

Transforms compute on the CPU, where the loader's threads apply them while the network trains on the batch before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms.streams import RandomStreams

Params = dict[str, NDArray[Any]]
"""Random parameters of a batch, each with the batch axis first."""
Images = NDArray[np.float32]
"""Images of a batch, (B, C, X, Y, Z), in [0, 1]."""


class Transform(ABC):
    """A transform of images, or a composition of several."""

    @abstractmethod
    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return random parameters for images of `shape` (x, y, z): one image for each stream, from it alone."""

    @abstractmethod
    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Transform some images of a batch in place, as a function of the arguments alone.

        Args:
            images: (B, C, X, Y, Z), C-contiguous; 2D images have Z = 1.
            params: from `sample`, for the whole batch.
            rows: the images to transform, as indices into the batch.
        """

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the transformed images, as a function of the arguments alone; `images` is not changed.

        Args:
            images: (B, C, X, Y, Z), floating point, in [0, 1], on any device.
            params: from `sample_batch`, on any device.

        Returns:
            Images of the same shape, dtype, device and range.
        """
        out = copied(images)
        self.apply_in_place(out, as_arrays(params), np.arange(len(out)))
        return torch.from_numpy(out).to(images)


class Sampler(Protocol):
    """A transform or a corruption, as far as sampling parameters goes."""

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return random parameters for images of `shape` (x, y, z)."""


def sample_batch(sampler: Sampler, keys: ArrayLike, shape: Shape) -> dict[str, Tensor]:
    """Return parameters of a batch, on the CPU: one image for each key (`RandomStreams`).

    Raises:
        ValueError: there are no keys.
    """
    return as_tensors(sampler.sample(RandomStreams(keys), shape))


def as_tensors(params: Params) -> dict[str, Tensor]:
    """Return parameters as tensors on the CPU, which share their memory."""
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in params.items()}


def as_arrays(params: Mapping[str, Tensor]) -> Params:
    """Return parameters as arrays."""
    return {key: value.cpu().numpy() for key, value in params.items()}


def uniform_noise(seeds: Tensor, shape: Shape) -> Tensor:
    """Return (B, 1, X, Y, Z) float32 on the CPU, uniform in [0, 1), as a function of `seeds` (B,)."""
    return torch.from_numpy(RandomStreams(seeds.numpy()).random(1, *shape).astype(np.float32))


def copied(images: Tensor) -> Images:
    """Return a copy of images as a C-contiguous array of float32."""
    return np.array(images.detach().to("cpu", torch.float32).numpy(), order="C")


def add_prefix(name: str, params: Params) -> Params:
    """Return `params` under the keys "name.key", as compositions store the parameters of their parts."""
    return {f"{name}.{key}": value for key, value in params.items()}


def remove_prefix(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the parameters whose keys are "name.key", under "key"."""
    return {key.removeprefix(f"{name}."): value for key, value in params.items() if key.startswith(f"{name}.")}


def spatial_shape(images: Tensor | Images) -> Shape:
    """Return (x, y, z) of (B, C, X, Y, Z)."""
    x, y, z = images.shape[2:]
    return x, y, z
