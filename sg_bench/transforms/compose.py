"""Compositions of transforms: all in order, one with a probability, or one of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms.base import Params, Transform, add_prefix, remove_prefix


class Chain(Transform):
    """Apply all `parts` in order. Without parts, images stay as they are."""

    def __init__(self, parts: Mapping[str, Transform]) -> None:
        self.parts = dict(parts)

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return the parameters of all parts, with the parts' names as prefixes."""
        return _sample_parts(self.parts, rng, shape)

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images after all parts."""
        for name, part in self.parts.items():
            images = part.apply(images, remove_prefix(params, name))
        return images


class Sometimes(Transform):
    """Apply `part` to each image with a probability."""

    def __init__(self, part: Transform, probability: float) -> None:
        self.part = part
        self.probability = probability

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `on`, a bool, and the part's parameters under their own keys, drawn in either case."""
        return {"on": np.asarray(rng.random() < self.probability), **self.part.sample(rng, shape)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images, with those transformed where `on` (B,) is true."""
        inner = {key: value for key, value in params.items() if key != "on"}
        return _apply_where(params["on"], self.part, images, inner)


class OneOf(Transform):
    """Apply exactly one of `parts` to each image, with probabilities proportional to `weights` (default: equal)."""

    def __init__(self, parts: Mapping[str, Transform], weights: Mapping[str, float] | None = None) -> None:
        self.parts = dict(parts)
        shares = np.array([weights[name] if weights else 1.0 for name in self.parts])
        self.probabilities = shares / shares.sum()

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `choice`, the index of a part, and the parameters of all parts, with the parts' names as prefixes."""
        choice = np.asarray(rng.choice(len(self.parts), p=self.probabilities))
        return {"choice": choice, **_sample_parts(self.parts, rng, shape)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images, each transformed by the part with the index `choice` (B,)."""
        for number, (name, part) in enumerate(self.parts.items()):
            images = _apply_where(params["choice"] == number, part, images, remove_prefix(params, name))
        return images


@dataclass(frozen=True)
class Corruption:
    """Makes pairs of a network's input and its target out of images."""

    name: str
    pose: Transform
    """Applied to input and target."""
    corruption: Transform
    """Applied to the input alone."""

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return random parameters for one image of `shape` (x, y, z), drawn from `rng` alone."""
        return _sample_parts({"pose": self.pose, "corruption": self.corruption}, rng, shape)

    def corrupt(self, images: Tensor, params: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, each like `images`. `images` is not changed, and can itself be the targets.

        Args:
            images: (B, C, X, Y, Z), floating point, in [0, 1], on any device.
            params: from `sample_batch` of this corruption and as many generators as images.

        Raises:
            ValueError: `images` has not five axes, or `params` belongs to a batch of another size.
        """
        sizes = {len(value) for value in params.values()}
        if images.ndim != 5 or sizes - {len(images)}:
            raise ValueError(
                f"images must be (B, C, X, Y, Z), with parameters for each, but they are {tuple(images.shape)} "
                f"and there are parameters for {sorted(sizes)}"
            )
        targets = self.pose.apply(images, remove_prefix(params, "pose"))
        return self.corruption.apply(targets, remove_prefix(params, "corruption")), targets


def _sample_parts(parts: Mapping[str, Transform], rng: np.random.Generator, shape: Shape) -> Params:
    params: Params = {}
    for name, part in parts.items():
        params |= add_prefix(name, part.sample(rng, shape))
    return params


def _apply_where(chosen: Tensor, part: Transform, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """Return a copy of the images with `part` applied where `chosen` (B,) is true; `images` itself if it is nowhere."""
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return images
    place = rows.to(images.device)
    transformed = part.apply(images[place], {key: value[rows.to(value.device)] for key, value in params.items()})
    return images.index_copy(0, place, transformed)
