"""VoCo: the similarity of a random crop to the base crops of its region is the share in which it overlaps them.

Source: Wu, Zhuang and Chen, "VoCo: a simple-yet-effective volume contrastive learning framework for 3D medical image
analysis" (CVPR 2024), arXiv:2402.17300, section 3. The overlaps are predicted from base crops without gradients, and a
regularisation of the base crops keeps them apart. In films, regions and crops are parts of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.view_configs import VoCoConfig
from sg_bench.methods.views import Projected, mlp, product
from sg_bench.networks.backbone import Backbone
from sg_bench.transforms.base import Params, spatial_shape
from sg_bench.transforms.streams import RandomStreams
from sg_bench.transforms.tiles import OverlappingCrops, pieces_of, side_by_side

EPSILON = 1e-6
"""Least argument of a logarithm."""


class ProjectedPieces(Projected):
    """An encoder and a head for the pieces of each image, which enter side by side."""

    def __init__(self, backbone: Backbone, head: nn.Module, pieces: int) -> None:
        super().__init__(backbone, head)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's outputs (B * pieces, outputs) of images (B, C, pieces * X, Y, Z), grouped by image."""
        return super().forward(pieces_of(x, self.pieces))


class VoCo(Method):
    """Negative logarithm of one minus the error of each overlap, and the similarity of different base crops."""

    config: VoCoConfig
    mean_over_samples = True

    def __init__(self, config: VoCoConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.crops = OverlappingCrops(config.overlap)
        self.pieces = config.overlap.crops + self.crops.bases

    def network(self) -> nn.Module:
        """Return the encoder with a projection of two layers."""
        backbone, sizes = self.new_encoder(), self.config.projection
        return ProjectedPieces(backbone, mlp([backbone.channels[-1], sizes.hidden, sizes.outputs]), self.pieces)

    def sampling(self) -> PretrainingSampling:
        """Return random regions of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def stages(self) -> list[Stage]:
        """Return one stage with both terms."""
        weights = {"overlap": 1.0, "regularisation": self.config.weight_regularisation}
        return [Stage(name="pretrain", training=self.config.training, weights=weights)]

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return where the random crops start."""
        return self.crops.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return all crops of each region side by side; the answer `overlap` is (B, crops, bases)."""
        found = side_by_side(self.crops.apply(images, params), self.multiple)
        return Batch(found, images, labels, {"overlap": self.crops.overlap(params, spatial_shape(images))})

    def coarsest(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the coarsest map of each crop, grouped by region."""
        return self.backbone(network).features(pieces_of(batch.inputs, self.pieces))[-1]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return both terms, and the share of random crops whose most similar base crop overlaps them most."""
        projected = network(batch.inputs).view(len(batch.inputs), self.pieces, -1)
        projected = normalize(projected, dim=-1)
        random, bases = projected[:, : self.config.overlap.crops], projected[:, self.config.overlap.crops :]
        similarity = product(random, bases.detach().transpose(1, 2)).clamp(min=0)
        error = (batch.answers["overlap"].to(similarity) - similarity).abs()
        terms = {
            "overlap": -(1 - error).clamp(min=EPSILON).log().mean(),
            "regularisation": similarity_of_others(bases),
        }
        right = similarity.argmax(-1) == batch.answers["overlap"].argmax(-1)
        return Losses(terms, {"position_accuracy": right.float().mean()})


def similarity_of_others(bases: Tensor) -> Tensor:
    """Return the mean absolute cosine of different rows of (B, n, outputs), which have length 1."""
    cosines = product(bases, bases.transpose(1, 2)).abs()
    others = ~torch.eye(bases.shape[1], dtype=torch.bool, device=bases.device)
    return cosines[:, others].mean()
