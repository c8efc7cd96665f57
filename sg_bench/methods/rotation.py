"""Rotation: tell by which multiple of 90 degrees a random cube was turned.

Source: Gidaris et al., "Unsupervised representation learning by predicting image rotations" (ICLR 2018), section 2; in
the plane of the cube, which keeps its shape (protocol C.8).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.configs import RotationConfig
from sg_bench.networks.build import encoder
from sg_bench.networks.heads import Classifier
from sg_bench.transforms.base import Params
from sg_bench.transforms.turns import QuarterTurns


class Rotation(Method):
    """Encoder, global average pooling, one linear layer; cross-entropy. No decoder is trained or handed over."""

    config: RotationConfig

    def __init__(self, config: RotationConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.turns = QuarterTurns(config.turns)

    def network(self) -> nn.Module:
        """Return the papers' encoder and a linear layer that tells the turns apart."""
        return Classifier(encoder(self.config.dimension, self.config.width), self.turns.ways, hidden=False)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def stages(self) -> list[Stage]:
        """Return one optimisation, of the turns' cross-entropy."""
        return [Stage(name="pretrain", training=self.config.training, weights={"rotation": 1.0})]

    def sample_params(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return how one cube is turned."""
        return self.turns.sample(rng, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the turned cubes; `turn` (B,) is the answer."""
        turn = params["turn"].to(images.device)
        return Batch(self.turns.apply(images, params), images, labels, {"turn": turn})

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the cross-entropy of the turns, and how many are told."""
        logits, turn = network(batch.inputs), batch.answers["turn"]
        told = (logits.argmax(dim=1) == turn).to(torch.float32).mean()
        return Losses({"rotation": nn.functional.cross_entropy(logits.float(), turn)}, {"rotation_accuracy": told})
