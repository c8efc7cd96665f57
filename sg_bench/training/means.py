"""Means of losses over batches and ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from sg_bench.methods.base import Losses
from sg_bench.training.ranks import World


class RunningMeans:
    """Means of the loss, its terms and measures, weighted by samples; kept on the device until computed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, loss: Tensor, losses: Losses, samples: int) -> None:
        """Add a batch of so many samples, over all ranks in training, of this rank in validation."""
        for name, value in {"loss": loss, **losses.terms, **losses.measures}.items():
            term = value.detach().double() * samples
            self.sums[name] = self.sums[name] + term if name in self.sums else term
        self.count += samples

    def compute(self, world: World) -> dict[str, float]:
        """Return the means over all ranks."""
        names = sorted(self.sums)
        count = torch.tensor(self.count, device=self.device).double()
        sums = world.all_reduce(torch.stack([*(self.sums[name] for name in names), count]))
        return dict(zip(names, (sums[:-1] / sums[-1]).tolist(), strict=True))
