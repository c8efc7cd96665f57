"""Masking of patches on a regular grid."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform, spatial_shape


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

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `visible`, bool on the grid of patches. Patches at the far faces can be incomplete."""
        x, y, z = (-(-whole // side) for whole, side in zip(shape, self.patch(shape), strict=True))
        patches = x * y * z
        masked = min(max(round(self.config.ratio * patches), 1), patches - 1)
        visible = np.ones(patches, bool)
        visible[rng.permutation(patches)[:masked]] = False
        return {"visible": visible.reshape(x, y, z)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the images with 0 in all patches that are not visible; `visible` is (B, patches along x, y, z)."""
        return torch.where(self.voxels(params["visible"].to(images.device), spatial_shape(images)), images, 0)

    def voxels(self, visible: Tensor, shape: Shape) -> Tensor:
        """Return (B, 1, X, Y, Z) bool: whether a voxel is in a visible patch."""
        for axis, (side, whole) in enumerate(zip(self.patch(shape), shape, strict=True), start=1):
            visible = visible.repeat_interleave(side, axis).narrow(axis, 0, whole)
        return visible[:, None]
