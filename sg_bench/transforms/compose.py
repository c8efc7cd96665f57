"""How transforms combine: one after the other, with a chance, or one of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms.base import Params, Transform, part_of, prefixed


class Chain(Transform):
    """All of `parts`, in order; none of them leaves images as they are."""

    def __init__(self, parts: Mapping[str, Transform]) -> None:
        self.parts = dict(parts)

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return each part's parameters under its name."""
        return _sampled(self.parts, rng, shape)

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return `images` after all parts."""
        for name, part in self.parts.items():
            images = part.apply(images, part_of(params, name))
        return images


class Sometimes(Transform):
    """`part`, with a chance of `probability` for each image."""

    def __init__(self, part: Transform, probability: float) -> None:
        self.part = part
        self.probability = probability

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `on`, a bool, and the part's parameters, drawn in either case, under their own names."""
        return {"on": np.asarray(rng.random() < self.probability), **self.part.sample(rng, shape)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return `images`, those with `on` (B,) corrupted."""
        inner = {key: value for key, value in params.items() if key != "on"}
        return _applied_where(params["on"], self.part, images, inner)


class OneOf(Transform):
    """Exactly one of `parts` for each image, with chances in proportion to `weights` (equal if not given)."""

    def __init__(self, parts: Mapping[str, Transform], weights: Mapping[str, float] | None = None) -> None:
        self.parts = dict(parts)
        shares = np.array([weights[name] if weights else 1.0 for name in self.parts])
        self.probabilities = shares / shares.sum()

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `choice`, a part's number in order, and all parts' parameters under their names."""
        choice = np.asarray(rng.choice(len(self.parts), p=self.probabilities))
        return {"choice": choice, **_sampled(self.parts, rng, shape)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return `images`, each corrupted by the part that `choice` (B,) names."""
        for number, (name, part) in enumerate(self.parts.items()):
            images = _applied_where(params["choice"] == number, part, images, part_of(params, name))
        return images


@dataclass(frozen=True)
class Corruption:
    """Turns images into pairs: what the network sees, and what it shall restore."""

    name: str
    pose: Transform
    """Changes input and target alike."""
    corruption: Transform
    """Changes the input alone."""

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Draw the parameters of one image of `shape` (x, y, z), from `rng` alone."""
        return _sampled({"pose": self.pose, "corruption": self.corruption}, rng, shape)

    def corrupt(self, images: Tensor, params: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (inputs, targets), each like `images`, without changing `images` (which may itself be the targets).

        Args:
            images: (B, C, X, Y, Z), floating, in [0, 1], on any device.
            params: as `sample_batch` draws them from this corruption: one for each image.

        Raises:
            ValueError: `images` has another number of axes, or `params` belongs to a batch of another size.
        """
        sizes = {len(value) for value in params.values()}
        if images.ndim != 5 or sizes - {len(images)}:
            raise ValueError(
                f"images must be (B, C, X, Y, Z), with parameters for each, but they are {tuple(images.shape)} "
                f"and there are parameters for {sorted(sizes)}"
            )
        targets = self.pose.apply(images, part_of(params, "pose"))
        return self.corruption.apply(targets, part_of(params, "corruption")), targets


def _sampled(parts: Mapping[str, Transform], rng: np.random.Generator, shape: Shape) -> Params:
    params: Params = {}
    for name, part in parts.items():
        params |= prefixed(name, part.sample(rng, shape))
    return params


def _applied_where(chosen: Tensor, part: Transform, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """Return a copy of `images` in which `part` has corrupted those with `chosen` (B,), and `images` if none is."""
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return images
    place = rows.to(images.device)
    corrupted = part.apply(images[place], {key: value[rows.to(value.device)] for key, value in params.items()})
    return images.index_copy(0, place, corrupted)
