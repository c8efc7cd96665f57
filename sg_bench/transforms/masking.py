"""Masking of patches on a regular grid."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Images, Params, Transform, spatial_shape
from sg_bench.transforms.streams import RandomStreams


class PatchMask(Transform):
    """Set a fixed share of an image's patches, chosen at random, to 0: at least one and never all of them.

    Source: He et al., "Masked autoencoders are scalable vision learners" (arXiv:2111.06377), section 3.
    """

    def __init__(self, config: settings.PatchMaskSettings) -> None:
        self.config = config

    def patch(self, shape: Shape) -> Shape:
        """Return a patch's size in voxels: a cube, cut off along axes on which the image is thinner."""
        side = self.config.patch
        while side > 1 and math.prod(-(-whole // side) for whole in shape) < self.config.least_patches:
            side //= 2
        x, y, z = (min(side, whole) for whole in shape)
        return x, y, z

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `visible`, (B, x, y, z) bool on the grid of patches. Patches at the far faces can be incomplete."""
        x, y, z = (-(-whole // side) for whole, side in zip(shape, self.patch(shape), strict=True))
        patches = x * y * z
        masked = min(max(round(self.config.ratio * patches), 1), patches - 1)
        return {"visible": (random.permutation(patches) >= masked).reshape(-1, x, y, z)}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Set all patches to 0 that are not visible."""
        visible = self.voxels(torch.from_numpy(params["visible"][rows]), spatial_shape(images)).numpy()
        images[rows] = np.where(visible, images[rows], 0)

    def voxels(self, visible: Tensor, shape: Shape) -> Tensor:
        """Return (B, 1, X, Y, Z) bool: whether a voxel is in a visible patch."""
        for axis, (side, whole) in enumerate(zip(self.patch(shape), shape, strict=True), start=1):
            visible = visible.repeat_interleave(side, axis).narrow(axis, 0, whole)
        return visible[:, None]
