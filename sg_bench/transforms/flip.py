"""Mirroring along x and y."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Images, Params, Transform
from sg_bench.transforms.streams import RandomStreams


class Flip(Transform):
    """Mirror images at random along x and y.

    Up to `draws` times, with probability p each, one of x, y and the channel axis is drawn. The channel axis has no
    effect, and an axis that is drawn twice is not mirrored.

    Source: Models Genesis' official code, in which axis 0 is the channel, so that z is never mirrored.
    """

    def __init__(self, config: settings.FlipSettings) -> None:
        self.config = config

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `flipped`, (B, 2) bool, for x and y."""
        goes_on = np.cumprod(random.random(self.config.draws) < self.config.probability, axis=1).astype(bool)
        axes = random.integers(0, 2, self.config.draws)
        times = [(goes_on & (axes == axis)).sum(axis=1) for axis in (1, 2)]  # 0 is the channel axis
        return {"flipped": np.stack(times, axis=1) % 2 == 1}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Mirror each image along the axes where `flipped` is true."""
        for row in rows:
            axes = tuple(1 + axis for axis in np.flatnonzero(params["flipped"][row]).tolist())
            if axes:
                images[row] = np.flip(images[row], axes).copy()
