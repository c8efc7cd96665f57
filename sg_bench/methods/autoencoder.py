"""The auto-encoder of self-discovery: whole volumes in, the same volumes out; its bottleneck tells patients apart.

Source: Haghighi et al., arXiv:2007.06959, section 2.1; settings in protocol C.2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sg_bench.methods.base import Batch, PretrainingSampling, Restoration, WholeVolumes
from sg_bench.methods.configs import AutoencoderConfig
from sg_bench.networks.backbone import Backbone, global_average
from sg_bench.networks.build import encoder, unet


class Autoencoder(Restoration):
    """Restores what it is given, uncorrupted; mean squared error."""

    config: AutoencoderConfig

    def network(self) -> nn.Module:
        """Return the papers' U-Net, with or without skip connections."""
        return unet(self.config.dimension, self.config.width, skips=self.config.skips)

    def sampling(self) -> PretrainingSampling:
        """Return whole volumes on one grid."""
        return WholeVolumes(self.config.shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the images as inputs and as targets."""
        return Batch(images, images, labels)


def latent_encoder(config: Mapping[str, Any]) -> Backbone:
    """Return the part of an auto-encoder with `config`'s settings that gives latents; its weights are still random."""
    settings = AutoencoderConfig.model_validate(dict(config))
    return encoder(settings.dimension, settings.width)


def latent(network: Backbone, volume: Tensor) -> NDArray[np.float32]:
    """Return the (16 * width,) latent of one resized image (1, 1, X, Y, Z): the bottleneck, averaged over places."""
    with torch.no_grad():
        pooled = global_average(network.features(volume)[-1])[0]
    out: NDArray[np.float32] = pooled.float().cpu().numpy()
    return out
