"""Transforms that corrupt images for a network to restore, and random views and pieces of images.

`settings` holds the settings; `preset` builds a `Corruption` from them. Importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.transforms.base import Sampler, Transform, sample_batch
    from sg_bench.transforms.compose import Chain, Corruption, OneOf, Sometimes
    from sg_bench.transforms.presets import preset

__all__ = [
    "Chain",
    "Corruption",
    "OneOf",
    "Sampler",
    "Sometimes",
    "Transform",
    "preset",
    "sample_batch",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Sampler", "Transform", "sample_batch"), "base"),
        **dict.fromkeys(("Chain", "Corruption", "OneOf", "Sometimes"), "compose"),
        "preset": "presets",
    },
)
