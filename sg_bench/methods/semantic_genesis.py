"""Semantic Genesis: classify and restore corrupted self-discovered anatomical patterns.

Source: Haghighi et al., "Learning Semantics-enriched Representation via Self-discovery, Self-classification, and
Self-restoration", MICCAI 2020, arXiv:2007.06959; settings in protocol C.2 to C.4.
"""

from __future__ import annotations

from torch import Tensor, nn

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Losses, Method, Patterns, PretrainingSampling
from sg_bench.methods.configs import SemanticGenesisConfig
from sg_bench.methods.semantics import semantic_losses, semantic_stages
from sg_bench.transforms.base import Params
from sg_bench.transforms.presets import preset
from sg_bench.transforms.streams import RandomStreams


class SemanticGenesis(Method):
    """Self-classification and self-restoration of the self-discovered patterns."""

    config: SemanticGenesisConfig
    mean_over_samples = True

    def __init__(self, config: SemanticGenesisConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.corruption = preset(config.preset, config.transforms.model_dump())

    def network(self) -> nn.Module:
        """Return the U-Net with a pattern head at its bottleneck."""
        return self.new_ynet()

    def sampling(self) -> PretrainingSampling:
        """Return the self-discovered patterns."""
        return Patterns(permuted=self.config.semantics.labels == "random")

    def stages(self) -> list[Stage]:
        """Return the classification's warm-up and the joint training."""
        return semantic_stages(self.config.training, self.config.semantics)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the parameters of each cube's corruption."""
        return self.corruption.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the corrupted cubes, their clean originals and their pseudo-labels."""
        inputs, targets = self.corruption.corrupt(images, params)
        return Batch(inputs, targets, labels)

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return the restored image, without the pattern logits."""
        out: Tensor = network(inputs)[0]
        return out

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the restoration's and the classification's losses."""
        return semantic_losses(network, batch, stage)
