"""Mirroring."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform


class Flip(Transform):
    """Mirror along x and y, for input and target alike.

    Each draw happens with chance p and picks x, y or the channel axis, where it does nothing; two draws of the same
    axis cancel out. Source: Models Genesis' official code, whose axis 0 is the channel, so z is never mirrored.
    """

    def __init__(self, config: settings.Flip) -> None:
        self.config = config

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `flipped`, (2,) bool: along x, along y."""
        flipped = np.zeros(3, bool)
        for _ in range(self.config.draws):
            if rng.random() >= self.config.probability:
                break
            flipped[rng.integers(3)] ^= True
        return {"flipped": flipped[1:]}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return `images`, mirrored where `flipped` (B, 2) says so."""
        flipped = params["flipped"].to(images.device)
        for axis in range(2):
            chosen = flipped[:, axis].view(-1, 1, 1, 1, 1)
            images = torch.where(chosen, images.flip(2 + axis), images)
        return images
