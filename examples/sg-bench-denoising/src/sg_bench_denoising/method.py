"""Restore images from the two noises of a detector: its electronics', and that of counting quanta.

An image x in [0, 1] becomes x + sqrt(s^2 + g x) n with n ~ N(0, 1) in each voxel, clipped to [0, 1]; the noise of g is
Poisson's as far as its variance goes. Both strengths are drawn anew for every image, s ~ U(0, `gaussian`) and
g ~ U(0, `poisson`), so that the network cannot know how far to trust what it sees.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.methods import Batch, Crops, Params, PretrainingSampling, Restoration
from sg_bench.transforms.base import spatial_shape
from sg_bench.transforms.noise import draw_seed, uniform
from sg_bench_denoising.config import DenoisingConfig


class Denoising(Restoration):
    """Gaussian and signal-dependent noise; mean squared error to the clean image (B, 1, X, Y, Z)."""

    config: DenoisingConfig

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return one image's noise: how strong, and the seeds from which it grows."""
        return {
            "deviation": np.asarray(rng.uniform(0, self.config.gaussian)),
            "gain": np.asarray(rng.uniform(0, self.config.poisson)),
            "radius": draw_seed(rng),
            "angle": draw_seed(rng),
        }

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the noisy images and their clean originals."""
        params = {name: value.to(images.device) for name, value in params.items()}
        deviation, gain = (params[name].to(images.dtype).view(-1, 1, 1, 1, 1) for name in ("deviation", "gain"))
        noise = normal(params["radius"], params["angle"], spatial_shape(images))
        noisy = images + (deviation.square() + gain * images).sqrt() * noise
        return Batch(noisy.clamp(0, 1), images, labels)


def normal(radius: Tensor, angle: Tensor, shape: Shape) -> Tensor:
    """Return (B, 1, X, Y, Z) float32 from N(0, 1), one field for each pair of seeds (B,).

    Source: Box and Muller 1958, equation 1.
    """
    distance = (-2 * torch.log1p(-uniform(radius, shape))).sqrt()
    return distance * torch.cos(2 * math.pi * uniform(angle, shape))
