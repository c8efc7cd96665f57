"""Swapping of patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Images, Params, Transform, spatial_shape
from sg_bench.transforms.streams import RandomStreams

_DRAWS = 16
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

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `starts`, (B, swaps, 2, 3), of both patches of each pair."""
        patch = np.array(self.patch(shape))
        last = np.array(shape) - patch
        starts = np.zeros((len(random), self.config.swaps, 2, 3), np.int64)
        left = np.full(starts.shape[:2], bool((last >= patch).any()))  # an image of one voxel has no two places
        while left.any():
            drawn = random.integers(0, last, self.config.swaps, _DRAWS, 2, 3)
            apart = (np.abs(drawn[..., 0, :] - drawn[..., 1, :]) >= patch).any(axis=-1)
            first = np.take_along_axis(drawn, apart.argmax(axis=-1)[..., None, None, None], axis=2)[:, :, 0]
            found = left & apart.any(axis=-1)
            starts[found] = first[found]
            left &= ~found
        return {"starts": starts}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Swap all pairs of patches in each image, the same in every channel."""
        patch = self.patch(spatial_shape(images))
        for row in rows:
            for pair in params["starts"][row]:
                one, other = (
                    images[row][:, *(slice(s, s + n) for s, n in zip(start, patch, strict=True))] for start in pair
                )
                kept = one.copy()
                one[...] = other
                other[...] = kept
