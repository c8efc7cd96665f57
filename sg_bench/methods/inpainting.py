"""In-painting: restore random cubes in which boxes were replaced by noise.

Source: Pathak et al., "Context encoders" (CVPR 2016), in three dimensions and without its adversarial loss, with the
boxes of Models Genesis and a loss over the complete cube; the papers' own settings are unpublished (protocol C.6).
"""

from __future__ import annotations

from torch import Tensor

from sg_bench.config import Shape
from sg_bench.methods.base import Batch, Crops, PretrainingSampling, Restoration
from sg_bench.methods.configs import InpaintingConfig
from sg_bench.transforms.base import Params
from sg_bench.transforms.painting import InPainting
from sg_bench.transforms.streams import RandomStreams


class Inpainting(Restoration):
    """Up to five boxes of noise; mean squared error."""

    config: InpaintingConfig

    def __init__(self, config: InpaintingConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.painting = InPainting(config.in_painting)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the boxes of one cube."""
        return self.painting.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the in-painted cubes and their clean originals."""
        return Batch(self.painting.apply(images, params), images, labels)
