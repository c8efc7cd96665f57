"""Elastic in-plane deformation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform, spatial_shape
from sg_bench.transforms.noise import draw_seed, random_words

_NOISE_BITS, _WEIGHT_BITS, _VALUE_BITS = 16, 20, 32


class ElasticDeformation(Transform):
    """Move every voxel along x and y by a smooth random displacement, with linear interpolation and reflected edges.

    The displacement is alpha times noise of U[-1, 1], smoothed by a three-dimensional Gaussian with zero padding. In
    64x64x32, alpha 991 and sigma 8 give displacements along each axis with a standard deviation of 3.3 voxels and a
    maximum of 9.7 voxels in a typical cube. With another side s, sigma is scaled by s and alpha by s**2.5, because
    smoothing reduces the noise by sigma**1.5; so images of equal proportions are displaced by equal shares of their
    side. A 2D image (Z = 1) is displaced as far as a slice of a cube that is half as deep as its side, as the papers'
    cubes are.

    Source: Simard et al. 2003; in three dimensions in Semantic Genesis' official code, though not in its papers.
    """

    def __init__(self, config: settings.ElasticSettings) -> None:
        self.config = config

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `seed`, the seed of the noise."""
        return {"seed": draw_seed(rng)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the deformed images, computed in float32; `seed` is (B,)."""
        shape = spatial_shape(images)
        moved = self.displacement(params["seed"].to(images.device), shape)
        slices = images.permute(0, 4, 1, 2, 3).flatten(0, 1).to(torch.float32)
        grid = _grid(moved.permute(0, 4, 2, 3, 1).flatten(0, 1), shape)
        deformed = grid_sample(slices, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)
        stacked = deformed.reshape(len(images), shape[2], images.shape[1], *shape[:2])
        return stacked.permute(0, 2, 3, 4, 1).to(images.dtype).contiguous()

    def displacement(self, seeds: Tensor, shape: Shape) -> Tensor:
        """Return the displacements along x and y, in voxels, at which each voxel takes its value.

        `seeds` is (B,) int64; the result is (B, 2, X, Y, Z) float32 on the same device.
        """
        random = random_words(seeds, math.prod(shape))
        pair = torch.stack([random >> _NOISE_BITS, random % 2**_NOISE_BITS], 1)
        noise = (2 * pair + 1).to(torch.float64) * 2.0**-_NOISE_BITS - 1
        scale = min(shape[:2]) / self.config.reference_side if self.config.reference_side else 1.0
        alpha: float = self.config.alpha * scale**2.5
        smooth = _smoothed(noise.view(-1, 2, *shape), self.config.sigma * scale, self.config.truncate)
        return (smooth * alpha).to(torch.float32)


def _smoothed(field: Tensor, sigma: float, truncate: float) -> Tensor:
    """Return (B, C, X, Y, Z) float64 in [-1, 1] smoothed by a Gaussian with zero padding.

    Weights are rounded to 20 binary digits and values to 32, so that every sum of products fits into a double. The
    matrix products are exact then, and do not depend on the order of summation (batch size, threads, device).
    """
    along_x, along_y, along_z = (_weights(size, sigma, truncate).to(field.device) for size in field.shape[2:])
    if len(along_z) == 1:
        along_z = _damping(min(field.shape[2:4]) // 2, sigma, truncate).to(field.device)
    field = _rounded(field @ along_z, _VALUE_BITS)
    field = _rounded(along_y @ field, _VALUE_BITS)
    return (along_x @ field.flatten(3)).view(field.shape)


def _weights(size: int, sigma: float, truncate: float) -> Tensor:
    """Return a Gaussian filter along one axis as a symmetric (size, size) matrix of multiples of 2**-20."""
    radius = int(truncate * sigma + 0.5)
    gaussian = torch.exp(-0.5 * (torch.arange(radius + 1, dtype=torch.float64) / sigma) ** 2)
    gaussian = gaussian / (2 * gaussian.sum() - gaussian[0])
    place = torch.arange(size)
    distance = (place[:, None] - place).abs()
    weights = torch.where(distance <= radius, gaussian[distance.clamp(max=radius)], 0.0)
    return _rounded(weights, _WEIGHT_BITS)


def _damping(depth: int, sigma: float, truncate: float) -> Tensor:
    """Return the mean factor by which smoothing along an axis of `depth` voxels reduces noise, as a (1, 1) matrix."""
    weights = _weights(max(depth, 1), sigma, truncate)
    return _rounded(weights.square().sum(0).mean().sqrt().view(1, 1), _WEIGHT_BITS)


def _rounded(values: Tensor, bits: int) -> Tensor:
    """Return values rounded to multiples of 2**-bits."""
    return torch.round(values * 2.0**bits) * 2.0**-bits


def _grid(moved: Tensor, shape: Shape) -> Tensor:
    """Return `grid_sample`'s grid of displacements (N, X, Y, 2) in voxels: (y, x), with the edges at -1 and 1."""
    x, y = (torch.arange(side, device=moved.device) for side in shape[:2])
    place_x = (2 * (x[:, None] + moved[..., 0]) + 1) / shape[0] - 1
    place_y = (2 * (y + moved[..., 1]) + 1) / shape[1] - 1
    return torch.stack([place_y, place_x], -1)
