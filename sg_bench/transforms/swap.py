"""Swapping of patches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform, spatial_shape

_DRAWS = 64
"""Pairs drawn at once, of which the first without overlap is used."""


class PatchSwap(Transform):
    """Swap pairs of patches of equal size that do not overlap, one pair after the other.

    All pairs of places without overlap are equally likely. A later pair can move parts of an earlier one again.

    Source: Chen et al., "Self-supervised learning for medical image analysis using image context restoration" (2019);
    numbers of protocol C.7, where the paper's are not known.
    """

    def __init__(self, config: settings.PatchSwapSettings) -> None:
        self.config = config

    def patch(self, shape: Shape) -> Shape:
        """Return the size in voxels of a patch in an image of `shape`."""
        x, y, z = (min(side, max(1, whole // 2)) for side, whole in zip(self.config.patch, shape, strict=True))
        return x, y, z

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `starts`, (swaps, 2, 3) int64, of both patches of each pair."""
        return {"starts": np.stack([self._pair(rng, shape) for _ in range(self.config.swaps)])}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images after all swaps, the same in every channel; `starts` is (B, swaps, 2, 3)."""
        swapped, patch = images.clone(), self.patch(spatial_shape(images))
        for image, pairs in zip(swapped, params["starts"].tolist(), strict=True):
            for pair in pairs:
                one, other = (image[:, *(slice(s, s + n) for s, n in zip(start, patch, strict=True))] for start in pair)
                kept = one.clone()
                one.copy_(other)
                other.copy_(kept)
        return swapped

    def _pair(self, rng: np.random.Generator, shape: Shape) -> NDArray[np.int64]:
        """Return the starts (2, 3) of two patches that do not overlap."""
        patch = np.array(self.patch(shape))
        places = np.array(shape) - patch + 1
        if not (places > patch).any():
            return np.zeros((2, 3), np.int64)  # an image of one voxel has no two places
        while True:
            drawn = rng.integers(0, places, size=(_DRAWS, 2, 3))
            apart = (np.abs(drawn[:, 0] - drawn[:, 1]) >= patch).any(axis=1)
            if apart.any():
                pair: NDArray[np.int64] = drawn[apart.argmax()]
                return pair
