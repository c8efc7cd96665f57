"""Compositions of transforms: all in order, one with a probability, or one of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms.base import Images, Params, Transform, add_prefix, as_arrays, copied, remove_prefix
from sg_bench.transforms.streams import RandomStreams


class Chain(Transform):
    """Apply all `parts` in order. Without parts, images stay as they are."""

    def __init__(self, parts: Mapping[str, Transform]) -> None:
        self.parts = dict(parts)

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the parameters of all parts, with the parts' names as prefixes."""
        return _sample_parts(self.parts, random, shape)

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Apply all parts to each image."""
        for name, part in self.parts.items():
            part.apply_in_place(images, remove_prefix(params, name), rows)


class Sometimes(Transform):
    """Apply `part` to each image with a probability."""

    def __init__(self, part: Transform, probability: float) -> None:
        self.part = part
        self.probability = probability

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `on`, (B,) bool, and the part's parameters under their own keys, drawn in either case."""
        return {"on": random.random() < self.probability, **self.part.sample(random, shape)}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Apply the part to the images where `on` is true."""
        self.part.apply_in_place(images, params, rows[params["on"][rows]])


class OneOf(Transform):
    """Apply exactly one of `parts` to each image, with probabilities proportional to `weights` (default: equal)."""

    def __init__(self, parts: Mapping[str, Transform], weights: Mapping[str, float] | None = None) -> None:
        self.parts = dict(parts)
        shares = np.array([weights[name] if weights else 1.0 for name in self.parts])
        self.probabilities = shares / shares.sum()

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `choice`, (B,), the index of a part, and all parts' parameters, with the parts' names as prefixes."""
        choice = np.searchsorted(self.probabilities.cumsum()[:-1], random.random(), side="right")
        return {"choice": choice, **_sample_parts(self.parts, random, shape)}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Apply to each image the part with the index `choice`."""
        for number, (name, part) in enumerate(self.parts.items()):
            part.apply_in_place(images, remove_prefix(params, name), rows[params["choice"][rows] == number])


@dataclass(frozen=True)
class Corruption:
    """Makes pairs of a network's input and its target out of images."""

    name: str
    pose: Transform
    """Applied to input and target."""
    corruption: Transform
    """Applied to the input alone."""

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return random parameters for images of `shape` (x, y, z): one image for each stream, from it alone."""
        return _sample_parts({"pose": self.pose, "corruption": self.corruption}, random, shape)

    def corrupt(self, images: Tensor, params: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, each like `images`, which is not changed.

        Args:
            images: (B, C, X, Y, Z), floating point, in [0, 1], on any device.
            params: from `sample_batch` of this corruption and as many keys as images.

        Raises:
            ValueError: `images` has not five axes, or `params` belongs to a batch of another size.
        """
        sizes = {len(value) for value in params.values()}
        if images.ndim != 5 or sizes - {len(images)}:
            raise ValueError(
                f"images must be (B, C, X, Y, Z), with parameters for each, but they are {tuple(images.shape)} "
                f"and there are parameters for {sorted(sizes)}"
            )
        arrays, rows, targets = as_arrays(params), np.arange(len(images)), copied(images)
        self.pose.apply_in_place(targets, remove_prefix(arrays, "pose"), rows)
        inputs = targets.copy()
        self.corruption.apply_in_place(inputs, remove_prefix(arrays, "corruption"), rows)
        return torch.from_numpy(inputs).to(images), torch.from_numpy(targets).to(images)


def _sample_parts(parts: Mapping[str, Transform], random: RandomStreams, shape: Shape) -> Params:
    params: Params = {}
    for name, part in parts.items():
        params |= add_prefix(name, part.sample(random, shape))
    return params
