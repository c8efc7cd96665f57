"""Configuration of each built-in network, and the choice of one; free of torch, so that planning can read it.

A network of another package extends `NetworkConfig` in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import SerializeAsAny, ValidationInfo, field_validator, model_validator

from sg_bench.config import Dimensional, Model, Positive, Shape, SpatialDims
from sg_bench.registry import NETWORKS, PluginCode

MEDICALNET = "medicalnet"


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
