"""Elastic in-plane deformation."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import kernels, settings
from sg_bench.transforms.base import Images, Params, Transform, spatial_shape
from sg_bench.transforms.streams import RandomStreams

AT_ONCE = 8
"""Images whose displacements are held in memory together."""
NEGLIGIBLE = 1e-4
"""Share of an axis's variance that may be left out."""
UNIFORM_DEVIATION = 3**-0.5
"""Standard deviation of U[-1, 1]."""


class ElasticDeformation(Transform):
    """Move every voxel along x and y by a smooth random displacement, with linear interpolation and reflected edges.

    The displacement is alpha times noise of U[-1, 1], smoothed by a three-dimensional Gaussian with zero padding. In
    64x64x32, alpha 991 and sigma 8 give displacements along each axis with a standard deviation of 3.3 voxels and a
    maximum of 9.7 voxels in a typical cube. With another side s, sigma is scaled by s and alpha by s**2.5, because
    smoothing reduces the noise by sigma**1.5; so images of equal proportions are displaced by equal shares of their
    side. A 2D image (Z = 1) is displaced as far as a slice of a cube that is half as deep as its side, as the papers'
    cubes are.

    The field is drawn as a normal one with the covariance of smoothed noise, from as few numbers as that takes: the
    Karhunen-Loeve expansion of each axis, without the terms that hold less than `NEGLIGIBLE` of the variance.

    Source: Simard et al. 2003; in three dimensions in Semantic Genesis' official code, though not in its papers.
    """

    def __init__(self, config: settings.ElasticSettings) -> None:
        self.config = config

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `seed`, (B,), of the displacement."""
        return {"seed": random.seeds()}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Deform each image."""
        shape = spatial_shape(images)
        for first in range(0, len(rows), AT_ONCE):
            chunk = rows[first : first + AT_ONCE]
            kernels.deform(images, chunk, self._fields(params["seed"][chunk], shape))

    def displacement(self, seeds: Tensor, shape: Shape) -> Tensor:
        """Return the displacements along x and y, in voxels, at which each voxel takes its value.

        `seeds` is (B,) int64; the result is (B, 2, X, Y, Z) float32.
        """
        return torch.from_numpy(self._fields(seeds.numpy(), shape))

    def _fields(self, seeds: NDArray[np.int64], shape: Shape) -> NDArray[np.float32]:
        """Return the displacements of some images, (n, 2, X, Y, Z) in voxels."""
        scale = min(shape[:2]) / self.config.reference_side if self.config.reference_side else 1.0
        factors = _factors(shape, self.config.sigma * scale, self.config.truncate)
        normal = RandomStreams(seeds).normal(2, *(factor.shape[1] for factor in factors))
        normal *= self.config.alpha * scale**2.5 * UNIFORM_DEVIATION
        along_x, along_y, along_z = factors
        field = normal.astype(np.float32) @ along_z.T
        field = along_y @ field
        x, y, z = shape
        out: NDArray[np.float32] = (along_x @ field.reshape(-1, 2, along_x.shape[1], y * z)).reshape(-1, 2, x, y, z)
        return out


@cache
def _factors(shape: Shape, sigma: float, truncate: float) -> tuple[NDArray[np.float32], ...]:
    """Return for each axis a matrix (side, terms) that turns normal numbers into smoothed noise along the axis."""
    factors = [_expansion(side, sigma, truncate) for side in shape]
    if shape[2] == 1:  # as deep as the papers' cubes: half their side
        depth = max(min(shape[:2]) // 2, 1)
        factors[2] = np.sqrt(np.square(_filter(depth, sigma, truncate)).sum(0).mean()).reshape(1, 1)
    return tuple(factor.astype(np.float32) for factor in factors)


def _expansion(size: int, sigma: float, truncate: float) -> NDArray[np.float64]:
    """Return the leading terms of the expansion of smoothed white noise of `size` voxels, (size, terms)."""
    vectors, deviations, _ = np.linalg.svd(_filter(size, sigma, truncate))
    left_out = 1 - np.cumsum(deviations**2) / (deviations**2).sum()
    terms = int((left_out > NEGLIGIBLE).sum()) + 1
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(size)])  # libraries of linear algebra differ in them
    expansion: NDArray[np.float64] = (vectors * signs * deviations)[:, :terms]
    return expansion


def _filter(size: int, sigma: float, truncate: float) -> NDArray[np.float64]:
    """Return a Gaussian filter with zero padding along one axis as a symmetric (size, size) matrix."""
    radius = int(truncate * sigma + 0.5)
    gaussian = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    gaussian /= 2 * gaussian.sum() - gaussian[0]
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    return np.where(distance <= radius, gaussian[distance.clip(max=radius)], 0.0)
