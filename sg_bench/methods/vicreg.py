"""VICReg: two views of an image are embedded alike, while the units of the embedding vary and do not covary.

Source: Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for self-supervised learning",
arXiv:2105.04906, section 4. Here SGD takes the place of LARS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from sg_bench.config import Stage
from sg_bench.methods.base import Batch, Losses
from sg_bench.methods.view_configs import VICRegConfig
from sg_bench.methods.views import Projected, ViewsMethod, accuracy, mlp, product

EPSILON = 1e-4
"""Added to a variance before its root."""


class VICReg(ViewsMethod):
    """Mean squared distance of the views, hinge of the standard deviations, squares of the covariances."""

    config: VICRegConfig

    def network(self) -> nn.Module:
        """Return the encoder with an expander of three layers."""
        backbone, sizes = self.new_encoder(), self.config.projection
        layers = [backbone.channels[-1], sizes.hidden, sizes.hidden, sizes.outputs]
        return Projected(backbone, mlp(layers, norm=True))

    def stages(self) -> list[Stage]:
        """Return one stage with the three terms."""
        config = self.config
        weights = {
            "invariance": config.weight_invariance,
            "variance": config.weight_variance,
            "covariance": config.weight_covariance,
        }
        return [Stage(name="pretrain", training=config.training, weights=weights)]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the three terms over the complete batch, and the share of images whose views are nearest."""
        one, other = (self.gathered(network, network(view)) for view in (batch.inputs, batch.views[0]))
        terms = {
            "invariance": mse_loss(one, other),
            "variance": (hinge(one) + hinge(other)) / 2,
            "covariance": covariance(one) + covariance(other),
        }
        return Losses(terms, {"instance_accuracy": accuracy(-torch.cdist(one.detach(), other.detach()))})


def hinge(embedded: Tensor) -> Tensor:
    """Return the mean over units of how much their standard deviation in (B, units) is below 1."""
    variance = (embedded - embedded.mean(0)).square().sum(0) / max(len(embedded) - 1, 1)
    return (1 - (variance + EPSILON).sqrt()).clamp(min=0).mean()


def covariance(embedded: Tensor) -> Tensor:
    """Return the sum of the squared covariances of different units of (B, units), divided by their number."""
    centred = embedded - embedded.mean(0)
    matrix = product(centred.T, centred) / max(len(embedded) - 1, 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / embedded.shape[1]
