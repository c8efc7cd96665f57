"""Configuration of the method; without torch, so that planning need not import the method."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from sg_bench.config import CropRule, Positive
from sg_bench.methods.configs import FILM, MethodConfig


class DenoisingConfig(MethodConfig):
    """Restores random cubes, or whole films, from noise."""

    flat: ClassVar[dict[str, Any]] = {"crops": {"cube": FILM, "border": (0, 0, 0), "air": None}, "per_volume": 1}
    """Settings that differ in two dimensions."""

    version: int = 1
    """Increased whenever the method's result changes."""
    crops: CropRule = CropRule()
    """Size and place of the cubes."""
    per_volume: Positive = 32
    """Cubes cut from each volume."""
    gaussian: float = Field(default=0.2, ge=0, le=1)
    """Maximum standard deviation of the noise that does not depend on the signal; intensities are in [0, 1]."""
    poisson: float = Field(default=0.05, ge=0, le=1)
    """Maximum variance, where the signal is 1, of the noise that grows with the signal."""
