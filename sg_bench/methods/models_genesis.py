"""Models Genesis: restore random cubes after flips, local shuffling, intensity mapping and in- or out-painting.

Source: Zhou et al., "Models Genesis", MICCAI 2019; settings in protocol C.4 and C.5.
"""

from __future__ import annotations

from torch import Tensor

from sg_bench.config import Shape
from sg_bench.methods.base import Batch, Crops, PretrainingSampling, Restoration
from sg_bench.methods.configs import ModelsGenesisConfig
from sg_bench.transforms.base import Params
from sg_bench.transforms.presets import preset
from sg_bench.transforms.streams import RandomStreams


class ModelsGenesis(Restoration):
    """Flip, then local shuffling, non-linear intensity mapping and painting, each with its own probability."""

    config: ModelsGenesisConfig

    def __init__(self, config: ModelsGenesisConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.corruption = preset("models_genesis", config.transforms)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the parameters of each cube's corruption."""
        return self.corruption.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the corrupted cubes and their clean originals, with the same flips."""
        inputs, targets = self.corruption.corrupt(images, params)
        return Batch(inputs, targets, labels)
