"""Jigsaw puzzles: predict the order of the tiles of an image.

Source: Noroozi and Favaro, "Unsupervised learning of visual representations by solving jigsaw puzzles" (ECCV 2016),
section 3; in three dimensions Taleb et al., "3D self-supervised methods for medical imaging" (2020), section 3.3. Tiles
keep their mean and standard deviation.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.view_configs import JigsawConfig
from sg_bench.methods.views import mlp
from sg_bench.networks.backbone import Backbone, global_average
from sg_bench.transforms.base import Params
from sg_bench.transforms.streams import RandomStreams
from sg_bench.transforms.tiles import Tiles, pieces_of, side_by_side


class JigsawNetwork(nn.Module):
    """One encoder for all tiles; their pooled maps are concatenated and go through a hidden layer."""

    def __init__(self, backbone: Backbone, tiles: int, hidden: int, orders: int) -> None:
        super().__init__()
        self.backbone, self.tiles = backbone, tiles
        self.head = mlp([tiles * backbone.channels[-1], hidden, orders])

    def coarsest(self, images: Tensor) -> Tensor:
        """Return the coarsest map of each tile, grouped by image."""
        return self.backbone.features(pieces_of(images, self.tiles))[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of the orders of images whose tiles are side by side along x."""
        pooled = global_average(self.coarsest(images))
        logits: Tensor = self.head(pooled.view(len(images), -1))
        return logits


class Jigsaw(Method):
    """Cross-entropy of the order; the initialisation has no decoder."""

    config: JigsawConfig
    mean_over_samples = True

    def __init__(self, config: JigsawConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.tiles = Tiles(config.tiles, config.dimension)

    def network(self) -> nn.Module:
        """Return the encoder with a head for the order."""
        return JigsawNetwork(self.new_encoder(), self.tiles.tiles, self.config.hidden, self.tiles.orders)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def stages(self) -> list[Stage]:
        """Return one stage."""
        return [Stage(name="pretrain", training=self.config.training, weights={"order": 1.0})]

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the order and the places of the tiles."""
        return self.tiles.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the tiles of each image side by side; the answer `order` is (B,)."""
        tiles = side_by_side(self.tiles.apply(images, params), self.multiple)
        return Batch(tiles, images, labels, {"order": params["order"]})

    def coarsest(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the coarsest map of each tile, grouped by image."""
        assert isinstance(network, JigsawNetwork)
        return network.coarsest(batch.inputs)

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the cross-entropy of the order, and its accuracy."""
        logits, order = network(batch.inputs), batch.answers["order"]
        measures = {"order_accuracy": (logits.argmax(1) == order).float().mean()}
        return Losses({"order": cross_entropy(logits.float(), order)}, measures)
