"""A plain vision transformer in two or three dimensions, with the tensor names of timm, and a light decoder.

Positions are sines and cosines of each axis, computed for any grid, so that weights fit crops of any size; there is no
class token. A method that hides patches calls `tokens` and `attend` with the visible ones only.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021); He et al., "Masked Autoencoders Are Scalable
Vision Learners" (CVPR 2022), appendix A.1 (positions); Zheng et al., SETR (CVPR 2021), section 3.3 (the sum of maps).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from sg_bench.config import SpatialDims
from sg_bench.networks.backbone import Backbone
from sg_bench.networks.configs import ViTConfig
from sg_bench.networks.decoder import CONVOLUTIONS, Decoder, Stride, UNetDecoder

MAPS = 4
"""Maps of a transformer, from blocks at equal distances."""
DECODER_WIDTH = 128
"""Channels of the sum of the maps."""
PERIOD = 10_000.0
"""Longest wavelength of the positions, in units of 2 pi patches."""


class PatchEmbedding(nn.Module):
    """A convolution of patches to tokens."""

    def __init__(self, dimension: SpatialDims, in_channels: int, width: int, side: int) -> None:
        super().__init__()
        self.proj = CONVOLUTIONS[dimension](in_channels, width, kernel_size=side, stride=side)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, X / side, Y / side[, Z / side])."""
        out: Tensor = self.proj(x)
        return out


class Attention(nn.Module):
    """Self-attention over all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, N, width)."""
        batch, count, width = x.shape
        split = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        if torch.are_deterministic_algorithms_enabled():  # the fused kernels add up gradients in any order
            attended = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1) @ value
        else:
            attended = scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(batch, count, width))
        return out


class Perceptron(nn.Module):
    """Two layers with four times as many hidden units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, N, width)."""
        out: Tensor = self.fc2(gelu(self.fc1(x)))
        return out


class TransformerBlock(nn.Module):
    """Attention and perceptron, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), Perceptron(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, N, width)."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ViT(Backbone):
    """The transformer; its maps are the tokens after four blocks at equal distances, the last one normalised."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.dimension, self.in_channels, self.multiple = config.dimension, config.in_channels, config.multiple
        self.patch_embed = PatchEmbedding(config.dimension, config.in_channels, config.width, config.patch)
        self.blocks = nn.ModuleList(TransformerBlock(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        count = min(MAPS, config.depth)
        self.taken = tuple((place + 1) * config.depth // count - 1 for place in range(count))
        self.channels, self.strides = (config.width,) * count, (config.patch,) * count

    def make_decoder(self) -> Decoder:
        """Return the sum of the maps, and steps that double the grid."""
        return SummedDecoder(self.dimension, self.channels, self.strides[0])

    def tokens(self, x: Tensor) -> Tensor:
        """Return the tokens with their positions, (B, N, width), of images (B, in_channels, X, Y, Z) in [0, 1].

        N counts the patches along X, Y and Z, the last fastest.
        """
        patches = self.patch_embed(self.on_own_axes(x))
        found: Tensor = patches.flatten(2).transpose(1, 2)
        return found + positions(tuple(patches.shape[2:]), found.shape[2]).to(found)

    def attend(self, tokens: Tensor) -> list[Tensor]:
        """Return the tokens after each block of `taken`, the last normalised; `tokens` may be a part of an image's."""
        taken = []
        for place, block in enumerate(self.blocks):
            tokens = block(tokens)
            if place in self.taken:
                taken.append(tokens)
        return [*taken[:-1], self.norm(taken[-1])]

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return up to four maps (B, width, X / patch, ...) of images (B, in_channels, X, Y, Z) in [0, 1].

        Raises:
            MethodError: `x` has another shape.
        """
        sides = zip(x.shape[2 : 2 + self.dimension], self.multiple, strict=False)
        grid = [side // patch for side, patch in sides]
        return [each.transpose(1, 2).reshape(len(x), -1, *grid) for each in self.attend(self.tokens(x))]


class SummedDecoder(nn.Module):
    """Each map convolved to few channels, their sum, and a generic decoder."""

    def __init__(self, dimension: SpatialDims, channels: tuple[int, ...], stride: Stride) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(CONVOLUTIONS[dimension](each, DECODER_WIDTH, 1) for each in channels)
        self.up = UNetDecoder(dimension, (DECODER_WIDTH,), (stride,))
        self.channels = self.up.channels

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return (B, channels, X, Y[, Z]) from maps of one size."""
        reduced = [convolution(each) for convolution, each in zip(self.lateral, maps, strict=True)]
        out: Tensor = self.up([torch.stack(reduced).sum(0)])
        return out


def positions(grid: tuple[int, ...], width: int) -> Tensor:
    """Return the sines and cosines of the positions on a grid, (N, width), float32; the last axis is fastest.

    Every axis has an equal share of the channels; what is left over is zero.
    """
    each = width // (2 * len(grid))
    waves = PERIOD ** (-torch.arange(each, dtype=torch.float32) / max(each, 1))
    places = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in grid), indexing="ij")
    angles = [place.reshape(-1, 1) * waves for place in places]
    found = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return nn.functional.pad(found, (0, width - found.shape[1]))
