"""In-painting and out-painting, with noise for each voxel or a constant for each image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform, spatial_shape
from sg_bench.transforms.noise import draw_seed, uniform


class _Painting(Transform):
    """Random boxes and what fills them; subclasses define the boxes' size, and whether inside or outside is filled."""

    def __init__(self, config: settings.PaintingSettings) -> None:
        self.config = config

    @abstractmethod
    def _length(self, drawn: int, side: int) -> int:
        """Return the length of a box along a side of the image, computed from the random length."""

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `starts` and `sides`, (most, 3) int64, 0 for absent boxes, and the filling's `seed` or `value`."""
        config = self.config
        starts, sides = np.zeros((2, config.most, 3), np.int64)
        for box in range(config.most):
            if box >= config.least and rng.random() >= config.another:
                break
            starts[box], sides[box] = self._box(rng, shape)
        filling = {"seed": draw_seed(rng)} if config.fill == "noise" else {"value": np.asarray(rng.random())}
        return {"starts": starts, "sides": sides, **filling}

    def _box(self, rng: np.random.Generator, shape: Shape) -> tuple[list[int], list[int]]:
        plane, depth = self.config.sides.plane, self.config.sides.depth
        sides = [self._side(rng, shares, side) for shares, side in zip((plane, plane, depth), shape, strict=True)]
        starts = [self._start(rng, length, side) for length, side in zip(sides, shape, strict=True)]
        return starts, sides

    def _side(self, rng: np.random.Generator, shares: tuple[str, str], side: int) -> int:
        low, high = (int(Fraction(share) * side) for share in shares)
        return max(1, self._length(int(rng.integers(low, high, endpoint=True)), side))

    def _start(self, rng: np.random.Generator, length: int, side: int) -> int:
        border = min(self.config.border, (side - length) // 2)
        return int(rng.integers(border, side - length - border, endpoint=True))

    def _filling(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the filling: (B, 1, X, Y, Z) of noise, or (B, 1, 1, 1, 1) of constants."""
        if self.config.fill == "noise":
            return uniform(params["seed"].to(images.device), spatial_shape(images)).to(images.dtype)
        return params["value"].to(images.device, images.dtype).view(-1, 1, 1, 1, 1)


class InPainting(_Painting):
    """Fill the inside of boxes.

    Source: Models Genesis (arXiv:1908.06912), section 2; box sizes from the official code.
    """

    def _length(self, drawn: int, side: int) -> int:
        return drawn

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images with all boxes filled, the same in every channel."""
        return torch.where(_inside(images, params), self._filling(images, params), images)


class OutPainting(_Painting):
    """Fill everything outside of boxes.

    Source: Models Genesis (arXiv:1908.06912), section 2; box sizes from the official code.
    """

    def _length(self, drawn: int, side: int) -> int:
        return side - drawn

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images with everything outside of the boxes filled, the same in every channel."""
        return torch.where(_inside(images, params), images, self._filling(images, params))


def _inside(images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """Return (B, 1, X, Y, Z) bool: whether a voxel is in any box of its image."""
    starts, sides = params["starts"].to(images.device), params["sides"].to(images.device)
    x, y, z = (_between(starts[..., axis], sides[..., axis], size) for axis, size in enumerate(spatial_shape(images)))
    boxes = x[..., None, None] & y[..., None, :, None] & z[..., None, None, :]
    return boxes.any(1)[:, None]


def _between(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return (B, boxes, size) bool: whether a position along one axis is inside a box."""
    offset = torch.arange(size, device=start.device) - start[..., None]
    return (offset >= 0) & (offset < length[..., None])
