"""Local shuffling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.transforms import kernels, settings
from sg_bench.transforms.base import Images, Params, Transform, spatial_shape
from sg_bench.transforms.streams import RandomStreams


class LocalShuffle(Transform):
    """Permute the voxels inside small blocks at random places.

    Each side of a block is 1 to max(side // divisor, floor) voxels, and each start is uniform among the places where
    the block fits. Every block takes its values from the original image; where blocks overlap, the last one counts.

    Source: Models Genesis (arXiv:1908.06912), section 2, with 10 000 blocks; Semantic Genesis' official code, with 5.
    """

    def __init__(self, config: settings.ShuffleSettings) -> None:
        self.config = config

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `seed`, (B,), of blocks and permutations."""
        return {"seed": random.seeds()}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Shuffle each image, the same in every channel."""
        seeds = params["seed"][rows].astype(np.uint64)
        kernels.shuffle(images, rows, seeds, self._longest(spatial_shape(images)), self.config.blocks)

    def sources(self, seed: int, shape: Shape) -> NDArray[np.int32]:
        """Return for each voxel of an image the flat index of the voxel whose value it takes, (X * Y * Z,)."""
        sources = np.empty(math.prod(shape), np.int32)
        kernels.shuffle_sources(np.uint64(seed), self.blocks(seed, shape), np.array(shape), sources)
        return sources

    def blocks(self, seed: int, shape: Shape) -> NDArray[np.int64]:
        """Return starts along x, y, z and sides along x, y, z of all blocks, (blocks, 6)."""
        blocks = np.empty((self.config.blocks, 6), np.int64)
        kernels.draw_blocks(np.uint64(seed), self._longest(shape), np.array(shape), blocks)
        return blocks

    def _longest(self, shape: Shape) -> NDArray[np.int64]:
        """Return the longest sides of blocks along x, y, z."""
        divisor, floor = self.config.side_divisor, self.config.side_floor
        return np.array([min(side, max(side // divisor, floor)) for side in shape])
