"""Rotation: predict the rotation of a random cube by multiples of 90 degrees.

Source: Gidaris et al., "Unsupervised representation learning by predicting image rotations" (ICLR 2018), section 2;
by default in the plane, which keeps the shape of the cube (protocol C.8).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.configs import RotationConfig
from sg_bench.networks.heads import Classifier
from sg_bench.transforms.base import Params
from sg_bench.transforms.streams import RandomStreams
from sg_bench.transforms.turns import QuarterTurns


class Rotation(Method):
    """Encoder, global average pooling, one linear layer; cross-entropy. The initialisation has no decoder."""

    config: RotationConfig
    mean_over_samples = True

    def __init__(self, config: RotationConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.turns = QuarterTurns(config.turns)

    def network(self) -> nn.Module:
        """Return the encoder with a linear layer that classifies the rotations."""
        return Classifier(self.new_encoder(), self.turns.ways, hidden=False)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def stages(self) -> list[Stage]:
        """Return one stage, which trains the classification of rotations."""
        return [Stage(name="pretrain", training=self.config.training, weights={"rotation": 1.0})]

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the rotation of each cube."""
        return self.turns.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the rotated cubes; the answer `turn` (B,) is the index of the rotation."""
        turn = params["turn"].to(images.device)
        return Batch(self.turns.apply(images, params), images, labels, {"turn": turn})

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the cross-entropy of the rotations, and their accuracy."""
        logits, turn = network(batch.inputs), batch.answers["turn"]
        accuracy = (logits.argmax(dim=1) == turn).to(torch.float32).mean()
        return Losses({"rotation": nn.functional.cross_entropy(logits.float(), turn)}, {"rotation_accuracy": accuracy})
