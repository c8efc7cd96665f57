"""Restore images from the two noises of a detector: its electronics', and that of counting quanta.

An image x in [0, 1] becomes x + sqrt(s^2 + g x) n with n ~ N(0, 1) in each voxel, clipped to [0, 1]; the noise of g is
Poisson's as far as its variance goes. Both strengths are drawn anew for every image, s ~ U(0, `gaussian`) and
g ~ U(0, `poisson`), so that the network cannot know how far to trust what it sees.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.methods import Batch, Crops, Params, PretrainingSampling, Restoration
from sg_bench.transforms.base import spatial_shape
from sg_bench.transforms.streams import RandomStreams
from sg_bench_denoising.config import DenoisingConfig


class Denoising(Restoration):
    """Gaussian and signal-dependent noise; mean squared error to the clean image (B, 1, X, Y, Z)."""

    config: DenoisingConfig

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the strengths of each image's noise, and the seed of its normal numbers."""
        return {
            "deviation": self.config.gaussian * random.random(),
            "gain": self.config.poisson * random.random(),
            "seed": random.seeds(),
        }

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the noisy images and their clean originals."""
        params = {name: value.to(images.device) for name, value in params.items()}
        deviation, gain = (params[name].to(images.dtype).view(-1, 1, 1, 1, 1) for name in ("deviation", "gain"))
        noise = normal(params["seed"], spatial_shape(images))
        noisy = images + (deviation.square() + gain * images).sqrt() * noise
        return Batch(noisy.clamp(0, 1), images, labels)


def normal(seeds: Tensor, shape: Shape) -> Tensor:
    """Return (B, 1, X, Y, Z) float32 from N(0, 1), one field for each of the seeds (B,)."""
    return torch.from_numpy(RandomStreams(seeds.numpy()).normal(1, *shape)).float()
