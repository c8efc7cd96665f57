"""Configuration of the method; without torch, so that planning need not import the method."""

from __future__ import annotations

from sg_bench.config import Fraction, Positive
from sg_bench.methods.view_configs import ViewsConfig


class MoCoConfig(ViewsConfig):
    """Momentum contrast; views, projection and training are those of every method that compares views."""

    queue: Positive = 4096
    """Keys of earlier batches that each query is compared with."""
    momentum: Fraction = 0.99
    """Of the encoder of the keys."""
    temperature: float = 0.2
