"""MONAI's vision transformer."""

from __future__ import annotations

from monai.networks.nets.vit import ViT
from torch import Tensor, nn

from sg_bench.errors import MethodError
from sg_bench.networks import Backbone
from sg_bench_transformers.config import PlainConfig


class Plain(Backbone):
    """One map, of the normalised tokens."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.dimension, self.in_channels = config.dimension, config.in_channels
        self.channels, self.strides = (config.width,), (config.patch,)
        self.size = config.size[: config.dimension]
        self.vit = ViT(
            in_channels=config.in_channels,
            img_size=self.size,
            patch_size=config.patch,
            hidden_size=config.width,
            mlp_dim=4 * config.width,
            num_layers=config.layers,
            num_heads=config.heads,
            spatial_dims=config.dimension,
        )
        for block in self.vit.blocks:
            block.norm_cross_attn = nn.Identity()  # unused, and a parameter without a gradient stops several workers

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the map of images (B, in_channels, X, Y, Z)."""
        x = self.on_own_axes(x)
        if tuple(x.shape[2:]) != self.size:
            raise MethodError(f"the network takes images of {self.size}, not {tuple(x.shape[2:])}", hint="Set its size")
        tokens, _ = self.vit(x)
        grid = [side // self.strides[0] for side in self.size]
        return [tokens.transpose(1, 2).unflatten(2, grid)]
