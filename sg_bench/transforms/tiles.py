"""Tiles of images in another order, and crops whose overlap with a grid of cells is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sg_bench.config import Shape
from sg_bench.errors import MethodError
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, spatial_shape
from sg_bench.transforms.streams import RandomStreams

CANDIDATES = 40_320
"""Permutations among which orders are chosen; all of up to eight tiles, else that many random ones."""


class Tiles:
    """Cut a tile out of each cell of a grid, at a random place in it, and put the tiles into a random order.

    Source: Noroozi and Favaro, "Unsupervised learning of visual representations by solving jigsaw puzzles" (ECCV 2016),
    section 3; in three dimensions Taleb et al., "3D self-supervised methods for medical imaging" (2020), section 3.3.
    """

    def __init__(self, config: settings.TilesSettings, dimension: int) -> None:
        self.config, self.dimension = config, dimension
        self.grid = (config.grid, config.grid, config.grid if dimension == 3 else 1)
        self.tiles = math.prod(self.grid)
        self.orders = min(config.permutations, math.factorial(self.tiles))

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `order` (B,), the index of a permutation, and `starts` (B, tiles, 3) of each tile in the image.

        Raises:
            MethodError: the image has not a voxel for each tile.
        """
        cell = [whole // cells for whole, cells in zip(shape, self.grid, strict=True)]
        if not all(cell):
            raise MethodError(f"{shape} voxels have no {self.grid} tiles", hint="Set the crops' `cube` larger")
        free = [side - tile for side, tile in zip(cell, self.tile(shape), strict=True)]
        corners = np.indices(self.grid).reshape(3, -1).T * cell
        return {
            "order": random.integers(0, self.orders - 1),
            "starts": corners + random.integers(0, free, self.tiles, 3),
        }

    def tile(self, shape: Shape) -> Shape:
        """Return the size of a tile."""
        return self.config.tile(shape, self.dimension)

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the tiles (B, tiles, C, x, y, z): at place p that of the cell `permutations[order][p]`."""
        orders = torch.from_numpy(permutations(self.orders, self.tiles))[params["order"]].long()
        starts = torch.gather(params["starts"], 1, orders[:, :, None].expand(-1, -1, 3))
        return crops(images, starts, self.tile(spatial_shape(images)))


class OverlappingCrops:
    """Cut an image into the cells of a grid in its plane, the base crops, and random crops of the same size.

    Source: Wu et al., "VoCo: a simple-yet-effective volume contrastive learning framework for 3D medical image
    analysis" (CVPR 2024), section 3.
    """

    def __init__(self, config: settings.OverlapSettings) -> None:
        self.config, self.bases = config, config.grid**2

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `starts` (B, crops, 3) of the random crops; along z, crops are as deep as the image."""
        free = [whole - side for whole, side in zip(shape, self.cell(shape), strict=True)]
        return {"starts": random.integers(0, free, self.config.crops, 3)}

    def cell(self, shape: Shape) -> Shape:
        """Return the size of a cell, which is also that of a random crop."""
        return self.config.cell(shape)

    def corners(self, shape: Shape) -> Tensor:
        """Return where each base crop starts, (bases, 3)."""
        grid = self.config.grid
        return torch.from_numpy(np.indices((grid, grid, 1)).reshape(3, -1).T * self.cell(shape))

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the random crops, then the base crops, (B, crops + bases, C, x, y, z)."""
        shape = spatial_shape(images)
        bases = self.corners(shape).expand(len(images), -1, -1)
        return crops(images, torch.cat([params["starts"], bases], dim=1), self.cell(shape))

    def overlap(self, params: Mapping[str, Tensor], shape: Shape) -> Tensor:
        """Return the share of each random crop in each base crop, (B, crops, bases) float32; the sum is at most 1."""
        cell = torch.tensor(self.cell(shape))
        apart = (params["starts"][:, :, None] - self.corners(shape)).abs()
        return ((cell - apart).clamp(min=0) / cell).prod(-1).float()


def crops(images: Tensor, starts: Tensor, size: Shape) -> Tensor:
    """Return the crops of `size` at `starts` (B, n, 3) of images (B, C, X, Y, Z): (B, n, C, *size)."""
    rows = []
    for image, places in zip(images, starts.tolist(), strict=True):
        boxes = [[slice(first, first + side) for first, side in zip(place, size, strict=True)] for place in places]
        rows.append(torch.stack([image[:, box[0], box[1], box[2]] for box in boxes]))
    return torch.stack(rows)


def side_by_side(pieces: Tensor, multiple: Sequence[int]) -> Tensor:
    """Return pieces (B, n, C, x, y, z) of each image as one image (B, C, n * x, y, z), one after the other along x.

    Pieces are enlarged linearly where a side is not a multiple of what an encoder takes along that axis.
    """
    sizes = [-(-side // step) * step for side, step in zip(pieces.shape[3:], multiple, strict=True)]
    if sizes != list(pieces.shape[3:]):
        flat = pieces.flatten(0, 1)
        grown = functional.interpolate(flat, size=sizes, mode="trilinear", align_corners=False)
        pieces = grown.view(*pieces.shape[:3], *sizes).clamp(0, 1)
    return pieces.transpose(1, 2).flatten(2, 3)


def pieces_of(images: Tensor, count: int) -> Tensor:
    """Return the `count` pieces of each image of `side_by_side`, grouped by image: (B * count, C, x, y, z)."""
    batch, channels, x, y, z = images.shape
    split = images.reshape(batch, channels, count, x // count, y, z)
    return split.transpose(1, 2).flatten(0, 1)


@cache
def permutations(count: int, length: int) -> NDArray[np.int8]:
    """Return `count` permutations of 0 to `length` - 1, (count, length), the first the identity.

    Each further one has the largest Hamming distance from the nearest before it, among at most `CANDIDATES`.
    """
    if math.factorial(length) <= CANDIDATES:
        every = np.array(list(itertools.permutations(range(length))), np.int8)
    else:
        drawn = RandomStreams(np.arange(CANDIDATES)).permutation(length)
        every = np.concatenate([np.arange(length)[None], drawn]).astype(np.int8)
    chosen, distance = [0], np.full(len(every), length + 1)
    while len(chosen) < count:
        np.minimum(distance, (every != every[chosen[-1]]).sum(axis=1), out=distance)
        chosen.append(int(distance.argmax()))
    return every[chosen]
