"""No pretraining: random weights, drawn from the pretraining seed. The baseline of every claim.

A scratch cell has a pretraining seed like any other, so that it too is repeated over initialisations.
"""

from __future__ import annotations

from torch import Tensor

from sg_bench.config import Stage
from sg_bench.errors import MethodError
from sg_bench.methods.base import Batch, PretrainingSampling, Restoration


class Scratch(Restoration):
    """The papers' U-Net as it is drawn (protocol C.10)."""

    def sampling(self) -> PretrainingSampling:
        """Refuse: nothing is pretrained."""
        raise MethodError("scratch does not pretrain, so it samples nothing")

    def stages(self) -> list[Stage]:
        """Return none."""
        return []

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the images as they are."""
        return Batch(images, images, labels)
