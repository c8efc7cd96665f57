"""Mirroring along x and y."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform


class Flip(Transform):
    """Mirror images at random along x and y.

    Up to `draws` times, with probability p each, one of x, y and the channel axis is drawn. The channel axis has no
    effect, and an axis that is drawn twice is not mirrored.

    Source: Models Genesis' official code, in which axis 0 is the channel, so that z is never mirrored.
    """

    def __init__(self, config: settings.FlipSettings) -> None:
        self.config = config

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `flipped`, (2,) bool, for x and y."""
        flipped = np.zeros(3, bool)
        for _ in range(self.config.draws):
            if rng.random() >= self.config.probability:
                break
            flipped[rng.integers(3)] ^= True
        return {"flipped": flipped[1:]}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images, mirrored along the axes where `flipped` (B, 2) is true."""
        flipped = params["flipped"].to(images.device)
        for axis in range(2):
            chosen = flipped[:, axis].view(-1, 1, 1, 1, 1)
            images = torch.where(chosen, images.flip(2 + axis), images)
        return images
