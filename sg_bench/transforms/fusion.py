"""Fusion of two images: boxes of the one are blended into the other, by how much is the class of their voxels.

Source: Wang et al., "MIS-FM: 3D medical image segmentation using foundation models pretrained on a large-scale
unannotated dataset" (arXiv:2306.16925), section 3.1 (volume fusion).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params
from sg_bench.transforms.streams import RandomStreams


class Fusion:
    """Blend random boxes of a foreground image into a background image; later boxes replace earlier ones."""

    def __init__(self, config: settings.FusionSettings) -> None:
        self.config = config

    @property
    def classes(self) -> int:
        """Return the number of classes of voxels, the background included."""
        return self.config.levels + 1

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `boxes` (B,), their number, and of each box `sides` and `starts` (B, n, 3) and `level` (B, n)."""
        low, high = (np.minimum(limit, shape) for limit in self.config.sides)
        most = self.config.boxes[1]
        sides = random.integers(low, high, most, 3)
        return {
            "boxes": random.integers(*self.config.boxes),
            "sides": sides,
            "starts": random.integers(0, np.array(shape) - sides, most, 3),
            "level": random.integers(1, self.config.levels, most),
        }

    def classes_of(self, params: Mapping[str, Tensor], shape: Shape) -> Tensor:
        """Return the class of each voxel, (B, X, Y, Z) int64: its fusion coefficient times `levels`."""
        out = torch.zeros((len(params["boxes"]), *shape), dtype=torch.int64)
        for row, boxes in enumerate(params["boxes"].tolist()):
            starts, sides = params["starts"][row, :boxes].tolist(), params["sides"][row, :boxes].tolist()
            for start, side, level in zip(starts, sides, params["level"][row].tolist(), strict=False):
                box = tuple(slice(first, first + length) for first, length in zip(start, side, strict=True))
                out[row][box] = level
        return out

    def fuse(self, background: Tensor, foreground: Tensor, classes: Tensor) -> Tensor:
        """Return the fused images (B, C, X, Y, Z) of two batches of images and the class of each voxel."""
        share = (classes / self.config.levels).to(background)[:, None]
        return background * (1 - share) + foreground * share
