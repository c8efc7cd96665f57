"""MONAI's SwinUNETR in two or three dimensions, with its tensor names; fewer than four stages for small images.

The image itself is the first map, which MONAI's decoder uses as well.

Source: Hatamizadeh et al., "Swin UNETR" (arXiv:2201.01266); He et al., "SwinUNETR-V2" (MICCAI 2023).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sg_bench.networks.backbone import Backbone, cropped
from sg_bench.networks.configs import SwinUNETRConfig
from sg_bench.networks.decoder import Decoder


class SwinUNETR(Backbone):
    """The Swin transformer, under MONAI's name `swinViT`; `build_unet` adds the convolutions of MONAI's decoder."""

    def __init__(self, config: SwinUNETRConfig) -> None:
        from monai.networks.nets.swin_unetr import SwinTransformer

        super().__init__()
        self.dimension, self.in_channels, self.multiple = config.dimension, config.in_channels, config.multiple
        sides = range(len(config.depths) + 1)
        self.channels = (config.in_channels, *(config.feature_size * 2**stage for stage in sides))
        self.strides = (1, *(2 ** (stage + 1) for stage in sides))
        self.swinViT: Any = SwinTransformer(
            in_chans=config.in_channels,
            embed_dim=config.feature_size,
            window_size=(config.window,) * config.dimension,
            patch_size=(2,) * config.dimension,
            depths=config.depths,
            num_heads=config.heads,
            spatial_dims=config.dimension,
            use_v2=config.use_v2,
        )

    def make_decoder(self) -> Decoder:
        """Return MONAI's decoder."""
        return SwinDecoder(self)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the image and the maps of the patches and of each stage, fine to coarse.

        Args:
            x: (B, in_channels, X, Y, Z), intensities in [0, 1], each side a multiple of the coarsest stride.

        Raises:
            MethodError: `x` has another shape.
        """
        image, swin = self.on_own_axes(x), self.swinViT
        x = swin.patch_embed(image)
        maps = [image, swin.proj_out(x, normalize=True)]
        for stage in range(1, len(self.channels) - 1):
            if swin.use_v2:
                x = getattr(swin, f"layers{stage}c")[0](x.contiguous())
            x = getattr(swin, f"layers{stage}")[0](x.contiguous())
            maps.append(swin.proj_out(x, normalize=True))
        return maps


class SwinDecoder(nn.Module):
    """MONAI's residual blocks on the maps, and its transposed convolutions between them.

    With four stages the tensors have MONAI's names: `encoder1` to `encoder4` and `encoder10` on the image and the maps
    of strides 2 to 8 and 32, none on that of stride 16, and `decoder5` to `decoder1` from coarse to fine.
    """

    def __init__(self, backbone: SwinUNETR) -> None:
        from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock

        super().__init__()
        image, *widths = backbone.channels
        self.channels = widths[0]
        self.levels = len(widths)
        inputs = [image, *widths[:-2]]
        outputs = [widths[0], *widths[:-2]]
        shared: dict[str, Any] = {"kernel_size": 3, "norm_name": "instance", "res_block": True}
        for place, (before, after) in enumerate(zip(inputs, outputs, strict=True), 1):
            block = UnetrBasicBlock(backbone.dimension, before, after, stride=1, **shared)
            self.add_module(f"encoder{place}", block)
        self.encoder10 = UnetrBasicBlock(backbone.dimension, widths[-1], widths[-1], stride=1, **shared)
        for place, (below, skip) in enumerate(zip(widths, [widths[0], *widths[:-1]], strict=True), 1):
            up = UnetrUpBlock(backbone.dimension, below, skip, upsample_kernel_size=2, **shared)
            self.add_module(f"decoder{place}", up)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return (B, channels, X, Y[, Z]) from the image and the maps."""
        x = self.encoder10(maps[-1])
        for place in range(self.levels, 0, -1):
            skip = maps[place - 1]
            if place < self.levels:
                skip = self.get_submodule(f"encoder{place}")(skip)
            up: Any = self.get_submodule(f"decoder{place}")
            x = up.conv_block(torch.cat((cropped(up.transp_conv(x), skip), skip), dim=1))
        out: Tensor = x
        return out
