"""Configuration of the networks; without torch, so that planning need not import them."""

from __future__ import annotations

from sg_bench.config import Positive, Shape
from sg_bench.networks.configs import NetworkConfig


class SwinConfig(NetworkConfig):
    """Four stages, which halve the grid of patches of two voxels."""

    width: Positive = 24
    """Channels of a patch."""

    @property
    def multiple(self) -> Shape:
        """Return 32: the grid of patches is halved four times."""
        return 32, 32, 32 if self.dimension == 3 else 1


class PlainConfig(NetworkConfig):
    """A vision transformer whose positions are learned, so that all images have one size."""

    size: Shape = (64, 64, 32)
    """Voxels of the images."""
    patch: Positive = 16
    width: Positive = 384
    layers: Positive = 12
    heads: Positive = 6

    def refusal(self, shape: Shape) -> str:
        """Return why images of `shape` cannot enter, "" if they can."""
        used = self.size[: self.dimension]
        return "" if tuple(shape[: self.dimension]) == used else f"`size` is {' x '.join(map(str, used))}"
