"""Rubik's cubes: sub-cubes that are permuted and rotated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.errors import MethodError
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params
from sg_bench.transforms.streams import RandomStreams

PIECES = 8
"""2x2x2, numbered along z first, then y, then x."""
DIVISOR = 8
"""Divisor of the sides of sub-cubes, as the 3D networks require."""


class RubiksCube:
    """Cut a sub-cube out of each eighth of an image, permute the sub-cubes, rotate some, and join them.

    This is not a `Transform`, because the result is smaller than the image: twice a sub-cube along every axis. A
    sub-cube's sides are those of an eighth minus the gap, rounded down to a multiple of 8, and at least 8. Its position
    in its eighth is random.

    Source: Zhuang et al., "Self-supervised feature learning for 3D medical images by playing a Rubik's cube" (MICCAI
    2019), section 2; the permutations after Noroozi and Favaro (ECCV 2016), numbers of protocol C.9.
    """

    def __init__(self, config: settings.RubiksCubeSettings) -> None:
        self.config = config

    def piece(self, shape: Shape) -> Shape:
        """Return the size in voxels of the sub-cubes of an image of `shape`.

        Raises:
            MethodError: an eighth of the image is smaller than the smallest sub-cube.
        """
        if min(shape) < 2 * DIVISOR:
            raise MethodError(
                f"a cube of {shape} voxels has no 2x2x2 sub-cubes of {DIVISOR} voxels or more a side",
                hint=f"Set crops.cube to {2 * DIVISOR} or more along x, y and z: the default is 128 x 128 x 64",
            )
        free = (side // 2 - gap for side, gap in zip(shape, self.config.gap, strict=True))
        x, y, z = (max(DIVISOR, side // DIVISOR * DIVISOR) for side in free)
        return x, y, z

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the parameters of a batch.

        `order` (B,) is the index of a permutation, `starts` (B, 8, 3) where each sub-cube starts in its eighth, and
        `turned` (B, 8, 2) bool whether the sub-cube at each place is rotated about x and about z.

        Raises:
            MethodError: as `piece`.
        """
        free = [side // 2 - piece for side, piece in zip(shape, self.piece(shape), strict=True)]
        return {
            "order": random.integers(0, self.config.permutations - 1),
            "starts": random.integers(0, free, PIECES, 3),
            "turned": random.random(PIECES, 2) < self.config.turned,
        }

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the joined sub-cubes, (B, C, 2x, 2y, 2z): at place p that of eighth `permutations[order][p]`."""
        orders = permutations(self.config.permutations)[params["order"].tolist()]
        rows = zip(images, orders.tolist(), params["starts"].tolist(), params["turned"].tolist(), strict=True)
        return joined(torch.stack([self._pieces(*row) for row in rows]))

    def _pieces(self, image: Tensor, order: list[int], starts: list[list[int]], turned: list[list[bool]]) -> Tensor:
        """Return the permuted and rotated sub-cubes of one image (C, X, Y, Z), (8, C, x, y, z)."""
        x, y, z = image.shape[1:]
        size, out = self.piece((x, y, z)), []
        for eighth, (about_x, about_z) in zip(order, turned, strict=True):
            corner = (eighth // 4 * (x // 2), eighth // 2 % 2 * (y // 2), eighth % 2 * (z // 2))
            first = [low + start for low, start in zip(corner, starts[eighth], strict=True)]
            piece = image[:, *(slice(start, start + side) for start, side in zip(first, size, strict=True))]
            piece = piece.flip(2, 3) if about_x else piece
            out.append(piece.flip(1, 2) if about_z else piece)
        return torch.stack(out)


def joined(pieces: Tensor) -> Tensor:
    """Return images (B, C, 2x, 2y, 2z) made of 2x2x2 sub-cubes (B, 8, C, x, y, z)."""
    batch, _, channels, x, y, z = pieces.shape
    placed = pieces.view(batch, 2, 2, 2, channels, x, y, z).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return placed.reshape(batch, channels, 2 * x, 2 * y, 2 * z)


def taken_apart(cubes: Tensor) -> Tensor:
    """Return the 2x2x2 sub-cubes (B, 8, C, x, y, z) of images (B, C, 2x, 2y, 2z), the inverse of `joined`."""
    batch, channels, *sides = cubes.shape
    x, y, z = (side // 2 for side in sides)
    split = cubes.reshape(batch, channels, 2, x, 2, y, 2, z).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return split.reshape(batch, PIECES, channels, x, y, z)


@cache
def permutations(count: int) -> NDArray[np.int8]:
    """Return `count` permutations of 0 to 7, (count, 8), of which the first is the identity.

    Each further one is chosen for the largest Hamming distance from the nearest permutation before it, ties resolved in
    lexicographic order. Any two of 100 permutations differ in at least 6 places, the most that is possible.
    """
    every = np.array(list(itertools.permutations(range(PIECES))), np.int8)
    chosen, distance = [0], np.full(len(every), PIECES + 1)
    while len(chosen) < count:
        np.minimum(distance, (every != every[chosen[-1]]).sum(axis=1), out=distance)
        chosen.append(int(distance.argmax()))
    return every[chosen]
