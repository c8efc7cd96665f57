"""Rubik's cube: predict the order of the eight sub-cubes of a random cube, and which of them were rotated.

Re-implemented from the paper, which has no official code; gaps, probabilities and the heads follow public
re-implementations where the paper itself was not accessible (protocol C.9).

Source: Zhuang et al., "Self-supervised feature learning for 3D medical images by playing a Rubik's cube" (MICCAI 2019),
section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.configs import RubiksCubeConfig
from sg_bench.networks.backbone import Backbone, global_average
from sg_bench.transforms.base import Params
from sg_bench.transforms.rubik import PIECES, RubiksCube, taken_apart
from sg_bench.transforms.streams import RandomStreams


class RubiksNetwork(nn.Module):
    """One encoder for all sub-cubes; their pooled maps are concatenated and go through a hidden layer to three heads.

    The hidden layer has twice as many units as the coarsest map has channels.
    """

    def __init__(self, backbone: Backbone, orders: int) -> None:
        super().__init__()
        channels = backbone.channels[-1]
        self.backbone = backbone
        self.hidden = nn.Linear(PIECES * channels, 2 * channels)
        self.order = nn.Linear(2 * channels, orders)
        self.turned_x = nn.Linear(2 * channels, PIECES)
        self.turned_z = nn.Linear(2 * channels, PIECES)

    def coarsest(self, cubes: Tensor) -> Tensor:
        """Return the coarsest map of each sub-cube of (B, 1, 2x, 2y, 2z), by cube: (8 * B, C, x/8, y/8, z/8)."""
        return self.backbone.features(taken_apart(cubes).flatten(0, 1))[-1]

    def forward(self, cubes: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the order (B, orders) and of the rotations (B, 8, 2) about x and z."""
        pooled = global_average(self.coarsest(cubes)).view(len(cubes), -1)
        hidden = torch.relu(self.hidden(pooled))
        return self.order(hidden), torch.stack([self.turned_x(hidden), self.turned_z(hidden)], dim=2)


class RubiksCubeMethod(Method):
    """Cross-entropy of the order and binary cross-entropy of the rotations; the initialisation has no decoder."""

    config: RubiksCubeConfig
    mean_over_samples = True

    def __init__(self, config: RubiksCubeConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.cube = RubiksCube(config.cube)

    def network(self) -> nn.Module:
        """Return the encoder with three heads."""
        return RubiksNetwork(self.new_encoder(), self.config.cube.permutations)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def stages(self) -> list[Stage]:
        """Return one stage, which trains both classifications."""
        weights = {"order": self.config.weight_order, "turned": self.config.weight_turned}
        return [Stage(name="pretrain", training=self.config.training, weights=weights)]

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the order and the rotations of each cube."""
        return self.cube.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the rearranged cubes, smaller than `images`; the answers are `order` (B,) and `turned` (B, 8, 2)."""
        answers = {name: params[name].to(images.device) for name in ("order", "turned")}
        rearranged = self.cube.apply(images, params)
        return Batch(rearranged, rearranged, labels, answers)

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the losses of order and rotations, and the accuracy of the order."""
        order, turned = network(batch.inputs)
        accuracy = (order.argmax(dim=1) == batch.answers["order"]).to(torch.float32).mean()
        terms = {
            "order": nn.functional.cross_entropy(order.float(), batch.answers["order"]),
            "turned": nn.functional.binary_cross_entropy_with_logits(turned.float(), batch.answers["turned"].float()),
        }
        return Losses(terms, {"order_accuracy": accuracy})

    def coarsest(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the coarsest map of each sub-cube, grouped by cube."""
        assert isinstance(network, RubiksNetwork)
        return network.coarsest(batch.inputs)
