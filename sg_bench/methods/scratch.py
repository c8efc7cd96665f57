"""No pretraining: random weights drawn from the pretraining seed, the baseline of every claim.

A scratch cell has a pretraining seed like any other cell, so it is repeated over several initialisations too.
"""

from __future__ import annotations

from torch import Tensor

from sg_bench.config import Stage
from sg_bench.errors import MethodError
from sg_bench.methods.base import Batch, PretrainingSampling, Restoration


class Scratch(Restoration):
    """A U-Net with random weights (protocol C.10)."""

    def sampling(self) -> PretrainingSampling:
        """Raise MethodError: nothing is pretrained."""
        raise MethodError("scratch does not pretrain, so it has no training data")

    def stages(self) -> list[Stage]:
        """Return no stages."""
        return []

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the unchanged images."""
        return Batch(images, images, labels)
