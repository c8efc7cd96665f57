"""Configuration of each built-in network, and the choice of one; free of torch, so that planning can read it.

A network of another package extends `NetworkConfig` in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from sg_bench.config import Dimensional, Model, Positive, Shape, SpatialDims
from sg_bench.registry import NETWORKS, PluginCode

DENSE_VNET, MEDICALNET, SWIN_UNETR = "dense_vnet", "medicalnet", "swin_unetr"


class NetworkConfig(Dimensional):
    """Settings of every network. Planning sets `dimension` to that of each task."""

    dimensions: ClassVar[frozenset[int]] = frozenset({2, 3})
    """Spatial dimensions that the network has a version for."""

    version: int = 1
    """Increased whenever a change of code changes the network's result."""
    in_channels: Positive = 1
    """Channels of the images."""

    @model_validator(mode="after")
    def _has_dimension(self) -> NetworkConfig:
        if self.dimension not in self.dimensions:
            raise ValueError(f"the network has no {self.dimension}D version, only {sorted(self.dimensions)}")
        return self

    @property
    def multiple(self) -> Shape:
        """Return what each side of an image must be a multiple of."""
        return 1, 1, 1

    def refusal(self, shape: Shape) -> str:
        """Return why the network cannot take images of `shape`, and which sides it takes; "" if it can."""
        used = self.multiple[: self.dimension]
        if not any(side % least for side, least in zip(shape, used, strict=False)):
            return ""
        return f"sides must be multiples of {' x '.join(map(str, used))}"


class UNet3DNetworkConfig(NetworkConfig):
    """The papers' 3D U-Net."""

    dimensions: ClassVar[frozenset[int]] = frozenset({3})
    width: Positive = 32
    """Channels of the first convolution; 32 is the papers' network."""

    @property
    def multiple(self) -> Shape:
        """Return 8: three poolings."""
        return 8, 8, 8


class ResNet18NetworkConfig(NetworkConfig):
    """The papers' 2D network, a ResNet-18 with a decoder."""

    dimensions: ClassVar[frozenset[int]] = frozenset({2})
    dimension: SpatialDims = 2
    width: Positive = 32
    """Half the channels of the first convolution; 32 is the papers' network."""

    @property
    def multiple(self) -> Shape:
        """Return 32: five halvings."""
        return 32, 32, 1


class MedicalNetNetworkConfig(NetworkConfig):
    """MedicalNet's dilated 3D ResNet."""

    dimensions: ClassVar[frozenset[int]] = frozenset({3})
    depth: Literal[10, 18, 34, 50] = 18
    """Layers of the encoder."""

    @property
    def multiple(self) -> Shape:
        """Return 8: three halvings."""
        return 8, 8, 8


class ResEncUNetConfig(NetworkConfig):
    """The residual-encoder U-Net of nnU-Net (preset L), on any size of image."""

    width: Positive = 32
    """Channels at full resolution; each halving doubles them, up to ten times as many."""
    blocks: Annotated[tuple[Positive, ...], Field(min_length=2)] = (1, 3, 4, 6, 6, 6)
    """Residual blocks of each level of the encoder."""

    @property
    def features(self) -> tuple[int, ...]:
        """Return the channels of each level."""
        return tuple(min(self.width * 2**level, 10 * self.width) for level in range(len(self.blocks)))

    def refusal(self, shape: Shape) -> str:
        """Return why the coarsest map would have a single voxel, which instance norm cannot normalise; "" otherwise."""
        least = 2 ** (len(self.blocks) - 1)
        if max(shape[: self.dimension]) > least:
            return ""
        return f"{len(self.blocks)} levels need a side of more than {least}; fewer `blocks` need less"


class SwinUNETRConfig(NetworkConfig):
    """MONAI's SwinUNETR (Hatamizadeh et al., 2022)."""

    feature_size: Positive = 48
    """Channels of the first map."""
    depths: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4)] = (2, 2, 2, 2)
    """Blocks of each stage; every stage halves the grid."""
    heads: tuple[Positive, ...] = (3, 6, 12, 24)
    """Attention heads of each stage."""
    window: Positive = 7
    """Voxels along each side of a window of attention."""
    use_v2: bool = False
    """A residual convolution before each stage."""

    @property
    def multiple(self) -> Shape:
        """Return 2 for the patches, doubled by each stage."""
        side = 2 ** (len(self.depths) + 1)
        return side, side, 1 if self.dimension == 2 else side

    def refusal(self, shape: Shape) -> str:
        """Return why the network cannot take images of `shape`: its sides, or a coarsest map of a single voxel."""
        side = self.multiple[0]
        if not super().refusal(shape) and max(shape[: self.dimension]) > side:
            return ""
        reason = super().refusal(shape) or f"{len(self.depths)} stages need a side of more than {side}"
        return f"{reason}; fewer `depths` need less"

    @model_validator(mode="after")
    def _fitting(self) -> SwinUNETRConfig:
        widths = [self.feature_size * 2**stage for stage in range(len(self.depths))]
        if len(self.heads) != len(self.depths) or any(w % heads for w, heads in zip(widths, self.heads, strict=True)):
            raise ValueError(f"heads must be {len(self.depths)} divisors of the channels {widths}, not {self.heads}")
        return self


class ViTConfig(NetworkConfig):
    """A plain vision transformer with a light decoder; the default is ViT-B/16."""

    patch: Positive = 16
    """Voxels along each side of a patch."""
    width: Positive = 768
    """Channels of a token."""
    depth: Positive = 12
    """Number of blocks."""
    heads: Positive = 12
    """Attention heads of each block."""

    @property
    def multiple(self) -> Shape:
        """Return the side of a patch."""
        return self.patch, self.patch, 1 if self.dimension == 2 else self.patch

    @model_validator(mode="after")
    def _fitting(self) -> ViTConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self


class I3DConfig(NetworkConfig):
    """I3D: Inception-v1 inflated to three dimensions (Carreira and Zisserman, 2017); slices are its frames."""

    dimensions: ClassVar[frozenset[int]] = frozenset({3})
    width: Positive = 64
    """Channels of the first convolution; 64 is the published network, others scale all layers."""

    @property
    def multiple(self) -> Shape:
        """Return 32 in the plane and 8 across slices."""
        return 32, 32, 8


class DenseVNetConfig(NetworkConfig):
    """NiftyNet's dense V-Net (Gibson et al., 2018)."""

    dimensions: ClassVar[frozenset[int]] = frozenset({3})
    width: Positive = 24
    """Channels of the first convolution and of those that halve the grid."""
    growth: tuple[Positive, Positive, Positive] = (4, 8, 16)
    """Channels of each convolution of a block."""
    layers: tuple[Positive, Positive, Positive] = (5, 10, 10)
    """Convolutions of each block."""
    skips: tuple[Positive, Positive, Positive] = (12, 24, 24)
    """Channels of each block's convolution in the decoder."""

    @property
    def multiple(self) -> Shape:
        """Return 8: three halvings."""
        return 8, 8, 8


class NetworkChoice(Model):
    """A network by its registered name, with its settings."""

    name: str
    plugin: PluginCode | None = None
    """Code of the network, where it is not part of sg-bench."""
    config: SerializeAsAny[NetworkConfig]

    @field_validator("config", mode="before")
    @classmethod
    def _of_network(cls, given: Any, info: ValidationInfo) -> Any:
        return NETWORKS.config(info.data["name"]).model_validate(given) if isinstance(given, Mapping) else given

    def __str__(self) -> str:
        return self.name


def papers_network(dimension: SpatialDims, width: int = 32) -> NetworkChoice:
    """Return the papers' network: the 3D U-Net, or ResNet-18 with a decoder in 2D."""
    if dimension == 3:
        return NetworkChoice(name="unet3d", config=UNet3DNetworkConfig(width=width))
    return NetworkChoice(name="resnet18", config=ResNet18NetworkConfig(width=width))
