"""The auto-encoder of self-discovery: whole volumes in, the same volumes out; its bottleneck tells patients apart.

Source: Haghighi et al., arXiv:2007.06959, section 2.1; settings in protocol C.2.1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sg_bench.methods.base import Batch, Restoration, Sampling, WholeVolumes
from sg_bench.methods.configs import AutoencoderConfig
from sg_bench.networks.unet import UNet3D, global_average


class Autoencoder(Restoration):
    """Restores what it is given, unspoiled; mean squared error."""

    config: AutoencoderConfig

    def network(self) -> nn.Module:
        """Return the papers' U-Net, with or without skip connections."""
        return UNet3D(width=self.config.width, skips=self.config.skips)

    def sampling(self) -> Sampling:
        """Return whole volumes on one grid."""
        return WholeVolumes(self.config.shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the images as inputs and as targets."""
        return Batch(images, images, labels)


def latent(network: UNet3D, volume: Tensor) -> NDArray[np.float32]:
    """Return the (16 * width,) latent of one resized volume (1, 1, X, Y, Z): the bottleneck, averaged over places."""
    with torch.no_grad():
        pooled = global_average(network.features(volume)[-1])[0]
    out: NDArray[np.float32] = pooled.float().cpu().numpy()
    return out
