"""SimCLR: the two views of an image are more alike than views of different images.

Source: Chen et al., "A simple framework for contrastive learning of visual representations", arXiv:2002.05709,
section 2 and appendix A. Here SGD takes the place of LARS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from sg_bench.config import Stage
from sg_bench.methods.base import Batch, Losses
from sg_bench.methods.view_configs import SimCLRConfig
from sg_bench.methods.views import Projected, ViewsMethod, accuracy, grouped, mlp, product


class SimCLR(ViewsMethod):
    """Normalised temperature-scaled cross-entropy over the complete batch; the initialisation has no decoder."""

    config: SimCLRConfig

    def network(self) -> nn.Module:
        """Return the encoder with a projection of two layers."""
        backbone, sizes = self.new_encoder(), self.config.projection
        return Projected(backbone, mlp([backbone.channels[-1], sizes.hidden, sizes.outputs], norm=True))

    def stages(self) -> list[Stage]:
        """Return one stage."""
        return [Stage(name="pretrain", training=self.config.training, weights={"contrast": 1.0})]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the loss, and the share of images of which the other view is the most similar among all images.

        Both views go through the network together, as batch norm does not show then which of them an image is.
        """
        projected = self.gathered(network, network(grouped([batch.inputs, *batch.views])))
        first, second = normalize(projected, dim=1).view(len(projected) // 2, 2, -1).unbind(1)
        loss = contrast(first, second, self.config.temperature)
        return Losses({"contrast": loss}, {"instance_accuracy": accuracy(product(first, second.T))})


def contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding each view's partner among all other views (equation 1 of the paper).

    `first` and `second` are (B, outputs) of length 1, a row for each image.
    """
    both = torch.cat([first, second])
    similarities = (product(both, both.T) / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return cross_entropy(similarities, partner)
