"""The processes that share one training: which slice of a batch is mine, and how numbers are brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process's place among `size`; torch.distributed is initialised if there is more than one."""

    rank: int = 0
    size: int = 1

    def slice(self, batch: Sequence[T]) -> Sequence[T]:
        """Return this rank's share of a global batch, whose length `size` divides."""
        share = len(batch) // self.size
        return batch[self.rank * share : (self.rank + 1) * share]

    def average_gradients(self, network: nn.Module) -> None:
        """Replace each gradient by its mean over ranks, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over ranks."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            torch.distributed.barrier()
