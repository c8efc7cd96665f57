"""The auto-encoder of self-discovery, which reconstructs whole volumes; its bottleneck is the latent of a patient.

Source: Haghighi et al., arXiv:2007.06959, section 2.1; settings in protocol C.2.1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sg_bench.methods.base import Batch, PretrainingSampling, Restoration, WholeVolumes
from sg_bench.methods.configs import AutoencoderConfig
from sg_bench.networks.backbone import Backbone, global_average
from sg_bench.networks.build import encoder


class Autoencoder(Restoration):
    """Reconstructs uncorrupted images; mean squared error."""

    config: AutoencoderConfig

    def network(self) -> nn.Module:
        """Return the U-Net, with or without skip connections."""
        return self.new_unet(skips=self.config.skips)

    def sampling(self) -> PretrainingSampling:
        """Return whole volumes on one grid."""
        return WholeVolumes(self.config.shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the images as inputs and targets."""
        return Batch(images, images, labels)


def latent_encoder(config: AutoencoderConfig) -> Backbone:
    """Return the encoder of an auto-encoder, which gives latents, with random weights."""
    return encoder(config.chosen_network)


def latent(network: Backbone, volume: Tensor) -> NDArray[np.float32]:
    """Return the latent (16 * width,) of one resized image (1, 1, X, Y, Z): the spatial mean of the bottleneck."""
    with torch.no_grad():
        pooled = global_average(network.features(volume)[-1])[0]
    out: NDArray[np.float32] = pooled.float().cpu().numpy()
    return out
