"""The processes (ranks) that share a training, each with its slice of a batch, and what they compute together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The rank of this process among `size` ranks; for more than one, torch.distributed is initialised."""

    rank: int = 0
    size: int = 1

    def slice(self, batch: Sequence[T]) -> Sequence[T]:
        """Return this rank's slice of a global batch, whose length is a multiple of `size`."""
        share = len(batch) // self.size
        return batch[self.rank * share : (self.rank + 1) * share]

    def share(self, batch: Sequence[T], at_once: int) -> list[T]:
        """Return this rank's slices of a global batch's parts of `at_once` samples, one after the other.

        So the samples that all ranks have in the network at once are the same at any `size`.
        """
        return [each for start in range(0, len(batch), at_once) for each in self.slice(batch[start : start + at_once])]

    def average_gradients(self, network: nn.Module) -> None:
        """Replace each gradient by its mean over ranks, in a single all-reduce."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def all_reduce(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over ranks, computed in place."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            torch.distributed.barrier()
