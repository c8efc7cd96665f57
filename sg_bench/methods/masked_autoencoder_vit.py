"""Masked auto-encoder: restore the masked patches of an image from the visible ones, which are all the encoder sees.

Source: He et al., "Masked autoencoders are scalable vision learners" (CVPR 2022), arXiv:2111.06377, section 3 and
appendix A. The learning rate has no warm-up here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.masked_autoencoder import normalised, patches
from sg_bench.methods.view_configs import MaskedAutoencoderViTConfig
from sg_bench.networks.vit import TransformerBlock, ViT, positions
from sg_bench.transforms.base import Params, spatial_shape
from sg_bench.transforms.masking import PatchMask
from sg_bench.transforms.settings import PatchMaskSettings
from sg_bench.transforms.streams import RandomStreams


class MaskedViT(nn.Module):
    """A transformer of the visible patches, and a small one that restores all; the latter is not exported."""

    def __init__(self, backbone: ViT, config: MaskedAutoencoderViTConfig) -> None:
        super().__init__()
        self.backbone, width = backbone, config.decoder_width
        self.embed = nn.Linear(backbone.channels[-1], width)
        self.masked = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, config.decoder_heads) for _ in range(config.decoder_depth))
        self.norm = nn.LayerNorm(width)
        self.restore = nn.Linear(width, backbone.in_channels * math.prod(backbone.multiple))

    def encoded(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the tokens of the visible patches, (B, n, channels), as many of each image.

        The hooks of `features` get their map, which is zero at masked patches.
        """
        rows = visible.flatten(1)
        tokens = self.backbone.tokens(images)
        kept = tokens[rows].view(len(images), -1, tokens.shape[2])
        found = self.backbone.attend(kept)[-1]
        for hook in self.backbone._features_hooks.values():
            dense = torch.zeros_like(tokens, dtype=found.dtype).masked_scatter(rows[..., None], found)
            hook([dense.transpose(1, 2).reshape(len(images), -1, *visible.shape[1 : 1 + self.backbone.dimension])])
        return found

    def forward(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return the voxels of all patches, (B, patches, voxels), in units of the normalised patches.

        If `visible` (B, patches along x, y, z) is not given, all patches are.
        """
        if visible is None:
            grid = [side // step for side, step in zip(spatial_shape(images), self.backbone.multiple, strict=True)]
            visible = torch.ones(len(images), *grid, dtype=torch.bool, device=images.device)
        known = self.embed(self.encoded(images, visible))
        rows = visible.flatten(1)[..., None]
        tokens = self.masked.to(known.dtype).expand(*rows.shape[:2], -1).masked_scatter(rows, known)
        tokens = tokens + positions(tuple(visible.shape[1 : 1 + self.backbone.dimension]), tokens.shape[2]).to(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        restored: Tensor = self.restore(self.norm(tokens))
        return restored


class MaskedAutoencoderViT(Method):
    """Mean squared error to the masked patches, each normalised to mean 0 and standard deviation 1."""

    config: MaskedAutoencoderViTConfig
    mean_over_samples = True

    def __init__(self, config: MaskedAutoencoderViTConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        side = max(self.multiple)
        self.masking = PatchMask(PatchMaskSettings(patch=side, ratio=config.ratio, least_patches=2))

    def network(self) -> nn.Module:
        """Return the encoder with a decoder of its own."""
        backbone = self.new_encoder()
        assert isinstance(backbone, ViT)
        return MaskedViT(backbone, self.config)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def stages(self) -> list[Stage]:
        """Return one stage."""
        return [Stage(name="pretrain", training=self.config.training, weights={"restoration": 1.0})]

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the visible patches of each image."""
        return self.masking.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the masked images, their originals and the answer `visible` (B, patches along x, y, z)."""
        return Batch(self.masking.apply(images, params), images, labels, {"visible": params["visible"]})

    def coarsest(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the last map, zero at masked patches."""
        assert isinstance(network, MaskedViT)
        maps: list[Tensor] = []
        with network.backbone.register_features_hook(lambda found: maps.append(found[-1])):
            network.encoded(batch.inputs, batch.answers["visible"])
        return maps[0]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the mean squared error of the masked patches."""
        visible = batch.answers["visible"]
        restored = network(batch.inputs, visible)
        restored = restored if restored.dtype == torch.float64 else restored.float()
        wanted = normalised(patches(batch.targets, self.masking.patch(spatial_shape(batch.targets)))).flatten(1, 3)
        return Losses({"restoration": (restored - wanted).square().mean(-1)[~visible.flatten(1)].mean()})
