"""Elastic deformation in the plane."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform, spatial
from sg_bench.transforms.noise import draw_seed, words

_NOISE_BITS, _WEIGHT_BITS, _VALUE_BITS = 16, 20, 32


class ElasticDeformation(Transform):
    """Move every voxel along x and y by a smooth random displacement; linear interpolation, edges mirrored.

    The displacement is alpha times U[-1, 1] noise smoothed by a three-dimensional Gaussian, beyond the edges zero. On
    64x64x32, alpha 991 and sigma 8 move a voxel along each axis by 3.3 (standard deviation), by 9.7 at most in a
    typical cube. For another side s, sigma follows s, and alpha s**2.5 because smoothing shrinks noise by sigma**1.5;
    so images of like proportions move by the same share of their side. A flat image (Z = 1) is deformed in two
    dimensions, as far as a slice of the cube that is half as deep as its side: the papers' proportions.

    Source: Simard et al. 2003, in three dimensions in Semantic Genesis' official code, which its papers do not mention.
    """

    def __init__(self, config: settings.Elastic) -> None:
        self.config = config

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `seed`, from which the noise grows."""
        return {"seed": draw_seed(rng)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the deformed `images`, computed in float32; `seed` is (B,)."""
        shape = spatial(images)
        moved = self.displacement(params["seed"].to(images.device), shape)
        slices = images.permute(0, 4, 1, 2, 3).flatten(0, 1).to(torch.float32)
        grid = _grid(moved.permute(0, 4, 2, 3, 1).flatten(0, 1), shape)
        deformed = grid_sample(slices, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)
        stacked = deformed.reshape(len(images), shape[2], images.shape[1], *shape[:2])
        return stacked.permute(0, 2, 3, 4, 1).to(images.dtype).contiguous()

    def displacement(self, seeds: Tensor, shape: Shape) -> Tensor:
        """Return how far from its own place each voxel reads, along x and y, in voxels.

        `seeds` is (B,) int64; the result is (B, 2, X, Y, Z) float32 on the same device.
        """
        random = words(seeds, math.prod(shape))
        pair = torch.stack([random >> _NOISE_BITS, random % 2**_NOISE_BITS], 1)
        noise = (2 * pair + 1).to(torch.float64) * 2.0**-_NOISE_BITS - 1
        scale = min(shape[:2]) / self.config.reference_side if self.config.reference_side else 1.0
        alpha: float = self.config.alpha * scale**2.5
        smooth = _smoothed(noise.view(-1, 2, *shape), self.config.sigma * scale, self.config.truncate)
        return (smooth * alpha).to(torch.float32)


def _smoothed(field: Tensor, sigma: float, truncate: float) -> Tensor:
    """Smooth (B, C, X, Y, Z) float64 within [-1, 1] by a Gaussian, with zeros beyond the edges.

    Weights have 20 binary digits and values 32, so every sum of products fits into a double: the matrix products are
    exact, and no order of summation (batch size, threads, device) can change the result.
    """
    along_x, along_y, along_z = (_weights(size, sigma, truncate).to(field.device) for size in field.shape[2:])
    if len(along_z) == 1:
        along_z = _damping(min(field.shape[2:4]) // 2, sigma, truncate).to(field.device)
    field = _rounded(field @ along_z, _VALUE_BITS)
    field = _rounded(along_y @ field, _VALUE_BITS)
    return (along_x @ field.flatten(3)).view(field.shape)


def _weights(size: int, sigma: float, truncate: float) -> Tensor:
    """Return the Gaussian filter along an axis as a symmetric (size, size) matrix of multiples of 2**-20."""
    radius = int(truncate * sigma + 0.5)
    gaussian = torch.exp(-0.5 * (torch.arange(radius + 1, dtype=torch.float64) / sigma) ** 2)
    gaussian = gaussian / (2 * gaussian.sum() - gaussian[0])
    place = torch.arange(size)
    distance = (place[:, None] - place).abs()
    weights = torch.where(distance <= radius, gaussian[distance.clamp(max=radius)], 0.0)
    return _rounded(weights, _WEIGHT_BITS)


def _damping(depth: int, sigma: float, truncate: float) -> Tensor:
    """Return by how much smoothing along an axis of `depth` voxels shrinks noise there on average, as (1, 1)."""
    weights = _weights(max(depth, 1), sigma, truncate)
    return _rounded(weights.square().sum(0).mean().sqrt().view(1, 1), _WEIGHT_BITS)


def _rounded(values: Tensor, bits: int) -> Tensor:
    return torch.round(values * 2.0**bits) * 2.0**-bits


def _grid(moved: Tensor, shape: Shape) -> Tensor:
    """Turn displacements (N, X, Y, 2) in voxels into `grid_sample`'s places: (y, x), with edges at -1 and 1."""
    x, y = (torch.arange(side, device=moved.device) for side in shape[:2])
    place_x = (2 * (x[:, None] + moved[..., 0]) + 1) / shape[0] - 1
    place_y = (2 * (y + moved[..., 1]) + 1) / shape[1] - 1
    return torch.stack([place_y, place_x], -1)
