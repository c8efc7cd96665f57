"""MONAI's Swin transformer."""

from __future__ import annotations

from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor

from sg_bench.networks import Backbone
from sg_bench_transformers.config import SwinConfig


class Swin(Backbone):
    """Five maps, from a half to a thirty-second of the image's grid."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.dimension, self.in_channels, self.multiple = config.dimension, config.in_channels, config.multiple
        self.channels = tuple(config.width * 2**level for level in range(5))
        self.strides = (2, 4, 8, 16, 32)
        self.swin = SwinTransformer(
            in_chans=config.in_channels,
            embed_dim=config.width,
            window_size=(7,) * config.dimension,
            patch_size=(2,) * config.dimension,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            spatial_dims=config.dimension,
        )

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the maps of images (B, in_channels, X, Y, Z), fine to coarse."""
        return self.swin(self.on_own_axes(x))
