"""Masked auto-encoder for convolutional networks: restore the masked patches of a random cube.

Source: Tian et al., "Designing BERT for convolutional networks" (SparK), arXiv:2301.03580, section 3: sparse encoding,
densifying at every scale, per-patch normalised targets, 60 % masked. This is a light version on our U-Net, which
differs from the paper in that

- sparse convolutions are emulated: dense ones run, and masked positions are set to zero after every norm and pooling;
- batch norm counts the masked positions, which sparse batch norm would leave out;
- there is no projection between the encoder's maps and the decoder, which is the U-Net's and part of the initialisation
  (the paper's decoder is light and discarded);
- optimiser and schedule are those of the other methods here, in place of LAMB and 1600 epochs of ImageNet;
- crops with fewer than eight patches of the encoder's total stride are masked in smaller patches. A position of a
  coarse map then counts as masked only if all of it is, so the paper's exact sparsity is lost on that map; masked
  voxels still reach no map, because the input is masked first.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, adaptive_max_pool3d
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.pooling import _MaxPoolNd

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.configs import MaskedAutoencoderConfig
from sg_bench.networks.backbone import UNet
from sg_bench.transforms.base import Params, spatial_shape
from sg_bench.transforms.masking import PatchMask
from sg_bench.transforms.streams import RandomStreams

EPSILON = 1e-6
"""Added to a patch's variance before the division by it."""


class MaskedUNet(nn.Module):
    """A U-Net with an encoder of the visible patches; a learned vector replaces the masked ones in the decoder."""

    def __init__(self, backbone: UNet, masking: PatchMask) -> None:
        super().__init__()
        self.backbone, self.masking = backbone, masking
        self.embeddings = nn.ParameterList(torch.randn(channels) * 0.02 for channels in backbone.channels)

    def features(self, images: Tensor, visible: Tensor) -> list[Tensor]:
        """Return the encoder's maps, zero at masked positions; `visible` is bool (B, patches along x, y, z)."""
        hooks = [
            module.register_forward_hook(partial(_mask, visible))
            for module in self.backbone.modules()
            if isinstance(module, (_BatchNorm, _MaxPoolNd))
        ]
        try:
            return self.backbone.features(self.masking.apply(images, {"visible": visible}))
        finally:
            for hook in hooks:
                hook.remove()

    def forward(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return the decoder's output, (B, 1, X, Y, Z), in units of the normalised patches.

        If `visible` is not given, patches of zeros count as masked.
        """
        if visible is None:
            visible = patches(images, self.masking.patch(spatial_shape(images))).any(-1)
        maps = self.features(images, visible)
        dense = [_densified(found, visible, vector) for found, vector in zip(maps, self.embeddings, strict=True)]
        return self.backbone.decode(dense)


class MaskedAutoencoder(Method):
    """Mean squared error to the masked patches, each normalised to mean 0 and standard deviation 1."""

    config: MaskedAutoencoderConfig
    mean_over_samples = True

    def __init__(self, config: MaskedAutoencoderConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.masking = PatchMask(config.mask)

    def network(self) -> nn.Module:
        """Return the U-Net with the learned vectors of the masked positions."""
        return MaskedUNet(self.new_unet(), self.masking)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the visible patches of each cube."""
        return self.masking.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the masked cubes, their originals and the answer `visible`."""
        visible = params["visible"].to(images.device)
        return Batch(self.masking.apply(images, params), images, labels, {"visible": visible})

    def coarsest(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the coarsest map, zero at masked positions."""
        assert isinstance(network, MaskedUNet)
        return network.features(batch.inputs, batch.answers["visible"])[-1]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the mean squared error of the masked patches."""
        size, visible = self.masking.patch(spatial_shape(batch.targets)), batch.answers["visible"]
        found = patches(network(batch.inputs, visible).float(), size)
        error = (found - normalised(patches(batch.targets.float(), size))).square().mean(-1)
        return Losses({"restoration": error[~visible].mean()})


def patches(images: Tensor, size: Shape) -> Tensor:
    """Return the voxels of each patch of (B, 1, X, Y, Z): (B, patches along x, y, z, voxels); `size` must divide it."""
    batch, _, *sides = images.shape
    (x, y, z), (dx, dy, dz) = (side // length for side, length in zip(sides, size, strict=True)), size
    split = images.reshape(batch, x, dx, y, dy, z, dz).permute(0, 1, 3, 5, 2, 4, 6)
    return split.reshape(batch, x, y, z, dx * dy * dz)


def normalised(values: Tensor) -> Tensor:
    """Return `values` with mean 0 and standard deviation 1 along the last axis."""
    variance, mean = torch.var_mean(values, dim=-1, keepdim=True, correction=0)
    return (values - mean) / (variance + EPSILON).sqrt()


def on_grid(visible: Tensor, found: Tensor) -> Tensor:
    """Return `visible` (B, patches along x, y, z) on the grid of a map, (B, 1, ...) bool: true if any of it is."""
    grid = found.shape[2:]
    if len(grid) == 2:
        return adaptive_max_pool2d(visible[..., 0].float()[:, None], grid).bool()
    return adaptive_max_pool3d(visible.float()[:, None], grid).bool()


def _mask(visible: Tensor, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output * on_grid(visible, output).to(output.dtype)


def _densified(found: Tensor, visible: Tensor, vector: Tensor) -> Tensor:
    filling = vector.to(found.dtype).view(1, -1, *[1] * (found.dim() - 2))
    return torch.where(on_grid(visible, found), found, filling)
