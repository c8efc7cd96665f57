"""In-painting and out-painting, with noise for each voxel or a constant for each image."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.transforms import kernels, settings
from sg_bench.transforms.base import Images, Params, Transform
from sg_bench.transforms.streams import RandomStreams


class _Painting(Transform):
    """Random boxes and what fills them."""

    inside: ClassVar[bool]
    """Whether the inside of the boxes is filled, or all that is outside."""

    def __init__(self, config: settings.PaintingSettings) -> None:
        self.config = config

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `starts` and `sides`, (B, most, 3), 0 for absent boxes, and the filling's `seed` or `value`, (B,)."""
        config, most = self.config, self.config.most
        further = (random.random(most) < config.another) | (np.arange(most) < config.least)
        present = np.cumprod(further, axis=1)[..., None]
        plane, depth = config.sides.plane, config.sides.depth
        ranges = [
            [int(Fraction(share) * side) for share in shares]
            for shares, side in zip((plane, plane, depth), shape, strict=True)
        ]
        low, high = np.array(ranges).T
        drawn = random.integers(low, high, most, 3)
        sides = np.maximum(drawn if self.inside else np.array(shape) - drawn, 1)
        border = np.minimum(config.border, (np.array(shape) - sides) // 2)
        starts = random.integers(border, np.array(shape) - sides - border, most, 3)
        filling = {"seed": random.seeds()} if config.fill == "noise" else {"value": random.random()}
        return {"starts": starts * present, "sides": sides * present, **filling}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Fill the inside or the outside of the boxes of each image, the same in every channel."""
        noise = self.config.fill == "noise"
        seeds = params["seed"][rows].astype(np.uint64) if noise else np.zeros(len(rows), np.uint64)
        values = np.zeros(len(rows)) if noise else params["value"][rows].astype(np.float64)
        starts, sides = params["starts"][rows], params["sides"][rows]
        kernels.paint(images, rows, starts, sides, self.inside, noise, seeds, values)


class InPainting(_Painting):
    """Fill the inside of boxes.

    Source: Models Genesis (arXiv:1908.06912), section 2; box sizes from the official code.
    """

    inside = True


class OutPainting(_Painting):
    """Fill everything outside of boxes, which are shorter than the image by the drawn lengths.

    Source: Models Genesis (arXiv:1908.06912), section 2; box sizes from the official code.
    """

    inside = False
