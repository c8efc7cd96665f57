"""A probe without labels: how much more alike features are for two views of one image than of different images.

It judges methods whose loss may rise, those that promise a probe.
"""

from __future__ import annotations

import torch
from torch import nn

from sg_bench.methods.base import Batch, Method
from sg_bench.networks.backbone import global_average
from sg_bench.networks.norm import use_batch_statistics


def view_probe(method: Method, network: nn.Module, batch: Batch) -> float:
    """Return the mean cosine of the features of two views of an image, less that of views of different images.

    Features are pooled from the coarsest map and standardised over the batch, which has two or more images.
    """
    backbone = method.backbone(network)
    with torch.no_grad(), use_batch_statistics(network):
        pooled = [global_average(backbone.features(view)[-1]) for view in (batch.inputs, batch.views[0])]
    both = torch.stack(pooled)
    deviation, mean = torch.std_mean(both.flatten(0, 1), 0)
    one, other = torch.nn.functional.normalize((both - mean) / (deviation + 1e-6), dim=-1)
    cosines, images = one @ other.T, len(one)
    own = cosines.diagonal().mean()
    return float(own - (cosines.sum() - images * own) / (images * (images - 1)))
