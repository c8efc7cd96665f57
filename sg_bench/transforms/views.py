"""Random views of images, for methods that compare views.

Crop, resizing, flip and blur act along one axis after the other, so each is a matrix for each axis, and a view takes
three matrix products. Every view is a function of its image and its parameters alone.

Source: Chen et al., "A simple framework for contrastive learning of visual representations" (SimCLR, 2020), appendix A,
for images with one channel: contrast, brightness and gamma in place of colours, and noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, as_arrays, copied
from sg_bench.transforms.streams import RandomStreams

SHARPEST = 1e-3
"""Standard deviation in voxels of a blur that changes nothing."""


class RandomView:
    """A random crop, resized to `size` (None: to the image's own), with random intensities.

    This is not a `Transform`, because a view can have another size than its image.
    """

    def __init__(self, config: settings.ViewSettings, size: Shape | None = None) -> None:
        self.config, self.size = config, size

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the parameters of a batch.

        `sides` and `starts` (B, 3) of the crop as shares of the image's sides, `flipped` (B,) bool, `intensity` (B, 3)
        as gamma, brightness and contrast, `sigma` (B,) of the blur, `deviation` (B,) and `seed` (B,) of the noise.
        """
        config, axes = self.config, np.array(shape) > 1
        sides = np.where(axes, self._sides(random, axes), 1.0)
        low = np.array([config.gamma[0], 1 - config.brightness, 1 - config.contrast])
        high = np.array([config.gamma[1], 1 + config.brightness, 1 + config.contrast])
        intensity = low + (high - low) * random.random(3)
        sigma = config.sigma[0] + (config.sigma[1] - config.sigma[0]) * random.random()
        return {
            "sides": sides,
            "starts": (1 - sides) * random.random(3),
            "flipped": random.random() < config.flip,
            "intensity": np.where(random.random(1) < config.intensity, intensity, 1.0),
            "sigma": np.where(random.random() < config.blur, sigma, SHARPEST),
            "deviation": np.where(random.random() < config.noise, config.deviation * random.random(), 0.0),
            "seed": random.seeds(),
        }

    def _sides(self, random: RandomStreams, axes: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (B, 3): sides whose product over `axes` is a share of the voxels, as far as none exceeds 1."""
        low, high = self.config.scale
        share = (low + (high - low) * random.random(1)) ** (1 / axes.sum())
        stretch = (random.random(3) - 0.5) * math.log(self.config.aspect) * axes
        stretch -= stretch.sum(1, keepdims=True) / axes.sum()
        sides: NDArray[np.float64] = np.minimum(share * np.exp(stretch), 1.0)
        return sides

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the views (B, C, *size) in [0, 1] of images (B, C, X, Y, Z), as a function of the arguments alone."""
        whole, arrays = copied(images), as_arrays(params)
        size = self.size or whole.shape[2:]
        matrices = [self._matrices(axis, whole.shape[2 + axis], size[axis], arrays) for axis in range(3)]
        out = np.stack([_along_axes(image, rows) for image, *rows in zip(whole, *matrices, strict=True)])
        gamma, brightness, contrast = arrays["intensity"].T.reshape(3, -1, 1, 1, 1, 1).astype(np.float32)
        changed = (arrays["intensity"] != 1).any(1)  # the powers are what takes time
        out[changed] = np.clip(out[changed], 0, 1) ** gamma[changed] * brightness[changed]
        mean = out.mean(axis=(1, 2, 3, 4), keepdims=True)
        out = (out - mean) * contrast + mean
        for row in np.flatnonzero(arrays["deviation"]):
            noise = RandomStreams(arrays["seed"][row]).normal(*out.shape[1:])[0]
            out[row] += arrays["deviation"][row].astype(np.float32) * noise
        return torch.from_numpy(np.clip(out, 0, 1).astype(np.float32)).to(images)

    def _matrices(self, axis: int, whole: int, size: int, params: Params) -> NDArray[np.float32]:
        """Return (B, size, whole): what each voxel of the view takes from those of the image along one axis."""
        place = (np.arange(size) + 0.5) / size
        places = np.where(params["flipped"][:, None] & (axis == 0), 1 - place, place)
        centres = (params["starts"][:, axis, None] + params["sides"][:, axis, None] * places) * whole - 0.5
        centres = np.clip(centres, 0, whole - 1)
        linear = np.maximum(0, 1 - np.abs(centres[:, :, None] - np.arange(whole)))
        distance = np.subtract.outer(np.arange(size), np.arange(size)) / params["sigma"][:, None, None]
        blur = np.exp(-0.5 * distance**2)
        matrices: NDArray[np.float64] = (blur / blur.sum(2, keepdims=True)) @ linear
        return matrices.astype(np.float32)


def _along_axes(image: NDArray[np.float32], matrices: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the image (C, x, y, z) that one matrix (x, X) for each axis makes of (C, X, Y, Z)."""
    for axis, matrix in enumerate(matrices, start=1):
        image = np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)
    return image
