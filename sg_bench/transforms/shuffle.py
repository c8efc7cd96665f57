"""Local shuffling."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform, spatial_shape
from sg_bench.transforms.noise import below, draw_seed, random_words


class LocalShuffle(Transform):
    """Permute the voxels inside small blocks at random places.

    Each side of a block is 1 to max(side // divisor, floor) voxels, and each start is uniform among the places where
    the block fits. Every block takes its values from the original image; where blocks overlap, the last one counts.

    Source: Models Genesis (arXiv:1908.06912), section 2, with 10 000 blocks; Semantic Genesis' official code, with 5.
    """

    def __init__(self, config: settings.ShuffleSettings) -> None:
        self.config = config

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `seed`, the seed of blocks and permutations."""
        return {"seed": draw_seed(rng)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the shuffled images, the same in every channel; `seed` is (B,)."""
        seeds = params["seed"].to(images.device)
        sources = torch.stack([self.sources(seed, spatial_shape(images)) for seed in seeds[:, None]])
        index = sources[:, None].expand(-1, images.shape[1], -1)
        return images.flatten(2).gather(2, index).view(images.shape)

    def sources(self, seed: Tensor, shape: Shape) -> Tensor:
        """Return for each voxel of one image the flat index of the voxel whose value it takes.

        `seed` is (1,) int64; the result is (X*Y*Z,) int64 on the same device.
        """
        starts, sides = self._blocks(seed, shape)
        voxels, block = _voxels(starts, sides, shape)
        keys = random_words(seed, len(voxels), start=starts.numel() + sides.numel())[0]
        shuffled = voxels[torch.argsort(block << 32 | keys, stable=True)]
        own = torch.arange(math.prod(shape), device=seed.device)
        entries = torch.arange(len(voxels), device=seed.device)
        last = torch.full_like(own, -1).scatter_reduce(0, voxels, entries, "amax")
        return torch.where(last < 0, own, shuffled[last.clamp(min=0)])

    def _blocks(self, seed: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        """Return starts and sides of all blocks, each (3, blocks)."""
        config = self.config
        longest = [min(side, max(side // config.side_divisor, config.side_floor)) for side in shape]
        random = random_words(seed, config.blocks * 6).view(2, 3, config.blocks)
        sides = 1 + below(random[0], torch.tensor(longest, device=seed.device)[:, None])
        free = torch.tensor(shape, device=seed.device)[:, None] - sides
        return below(random[1], free + 1), sides


def _voxels(starts: Tensor, sides: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return the flat indices of the voxels of all blocks, block by block, and the index of each voxel's block."""
    volumes = sides.prod(0)
    block = torch.repeat_interleave(torch.arange(len(volumes), device=sides.device), volumes)
    first = (starts[0] * shape[1] + starts[1]) * shape[2] + starts[2]
    inside = torch.arange(len(block), device=sides.device) - (volumes.cumsum(0) - volumes)[block]
    side_y, side_z = sides[1][block], sides[2][block]
    row, z = inside // side_z, inside % side_z
    x, y = row // side_y, row % side_y
    return first[block] + (x * shape[1] + y) * shape[2] + z, block
