"""The processes (ranks) that share a training, each with its slice of a batch, and what they compute together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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

    def gather(self, own: Tensor) -> Tensor:
        """Return the tensors (B, ...) of all ranks, one after the other along the first axis; B may differ by rank.

        Gradients flow back to the ranks that the rows came from: each adds up those of the losses of all ranks. So
        `average_gradients` gives the gradient of the mean of the losses of all ranks, as it does without `gather`.
        Every rank must call it, forward and backward.
        """
        return own if self.size == 1 else _Gathered.apply(own, self)  # type: ignore[no-untyped-call]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            torch.distributed.barrier()


class _Gathered(torch.autograd.Function):
    """The rows of all ranks; the gradient of a rank's own rows is the sum of those that all ranks have for them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, world: World) -> Tensor:
        counts = torch.zeros(world.size, dtype=torch.int64, device=own.device)
        counts[world.rank] = len(own)
        rows = world.all_reduce(counts).tolist()
        padded = own.new_zeros((max(rows), *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in rows]
        torch.distributed.all_gather(parts, padded)
        first = sum(rows[: world.rank])
        ctx.own, ctx.world = slice(first, first + len(own)), world
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = ctx.world.all_reduce(gradients[0].clone(memory_format=torch.contiguous_format))
        return total[ctx.own], None
