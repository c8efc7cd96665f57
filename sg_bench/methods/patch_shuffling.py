"""Patch shuffling, or context restoration: restore random cubes in which pairs of patches were swapped.

Source: Chen et al., "Self-supervised learning for medical image analysis using image context restoration" (Medical
Image Analysis 2019), sections 3.1 and 3.2; number and size of the patches are our choice (protocol C.7).
"""

from __future__ import annotations

from torch import Tensor

from sg_bench.config import Shape
from sg_bench.methods.base import Batch, Crops, PretrainingSampling, Restoration
from sg_bench.methods.configs import PatchShufflingConfig
from sg_bench.transforms.base import Params
from sg_bench.transforms.streams import RandomStreams
from sg_bench.transforms.swap import PatchSwap


class PatchShuffling(Restoration):
    """Ten swaps of two equal patches; mean squared error."""

    config: PatchShufflingConfig

    def __init__(self, config: PatchShufflingConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.swap = PatchSwap(config.patch_swap)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the patches of each cube to swap."""
        return self.swap.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the shuffled cubes and their clean originals."""
        return Batch(self.swap.apply(images, params), images, labels)
