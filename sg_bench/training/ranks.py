"""The processes (ranks) that share a training, each with its slice of a batch, and what they compute together."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sg_bench.config import Stage
from sg_bench.errors import SgBenchError, UsageError

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

    def all_reduce(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over ranks, computed in place."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def gather(self, own: Tensor) -> Tensor:
        """Return the tensors (B, ...) of all ranks, one after the other along the first axis; B may differ by rank.

        Gradients flow back to the ranks that the rows came from: each adds up those of the losses of all ranks. So
        `AveragedGradients` is the gradient of the mean of the losses of all ranks, as it is without `gather`.
        Every rank must call it, forward and backward.
        """
        return own if self.size == 1 else _Gathered.apply(own, self)  # type: ignore[no-untyped-call]

    def broadcast(self, value: T) -> T:
        """Return rank 0's `value`: tensors on the CPU, numbers, text, None, and lists and dicts of them."""
        if self.size == 1:
            return value
        buffer = io.BytesIO()
        if self.rank == 0:
            torch.save(value, buffer)
        length = torch.tensor(len(buffer.getbuffer()))
        torch.distributed.broadcast(length, 0)
        data = bytearray(buffer.getvalue()) if self.rank == 0 else bytearray(int(length))
        torch.distributed.broadcast(torch.frombuffer(data, dtype=torch.uint8), 0)
        if self.rank == 0:
            return value
        received: T = torch.load(io.BytesIO(data), weights_only=True)
        return received

    def decide(self, make: Callable[[], T]) -> T:
        """Return what `make`, called on rank 0 alone, returns there; what it may be says `broadcast`.

        Raises:
            SgBenchError: on the other ranks, where it raised an error on rank 0.
        """
        if self.rank > 0:
            made, problem = self.broadcast((list[T](), ""))
            if problem:
                raise SgBenchError(f"rank 0 stopped: {problem}")
            decided: T = made[0]
            return decided
        try:
            decided = make()
        except Exception as error:
            self.broadcast(([], str(error) or type(error).__name__))
            raise
        return self.broadcast(([decided], ""))[0][0]


def check_batch_sizes(stages: Sequence[Stage], world: World) -> None:
    """Raise a UsageError if the ranks cannot divide a stage's batches equally."""
    for stage in stages:
        if stage.training.at_once % world.size:
            setting = "micro_batch" if stage.training.micro_batch else "batch_size"
            raise UsageError(
                f"stage '{stage.name}': {world.size} workers cannot share batches of {stage.training.at_once}",
                hint=f"Set training.{setting} to a multiple of {world.size}, or change `workers`",
            )


class AveragedGradients:
    """Averages the gradients of a network over ranks, in buckets while the backward pass is under way.

    A single rank computes as without it. What a stage leaves unused has no gradient.

    Args:
        network: on its device, with the same parameters on all ranks; takes the weights of rank 0.
        world: of the ranks, all of which create it, and call it equally often.
    """

    def __init__(self, network: nn.Module, world: World) -> None:
        self._shared: DistributedDataParallel | None = None
        if world.size > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of a name that older versions do not have
                self._shared = DistributedDataParallel(
                    _Calls(network), broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
                )

    def __call__(self, compute: Callable[[], Tensor]) -> Tensor:
        """Return what `compute` makes with the network, so that the gradients of its backward pass are averaged."""
        if self._shared is None:
            return compute()
        result: Tensor = self._shared(compute)
        return result

    def added_up(self) -> AbstractContextManager[None]:
        """Leave the gradients of the block to be averaged together with those of the next backward pass after it."""
        if self._shared is None:
            return contextlib.nullcontext()
        block: AbstractContextManager[None] = self._shared.no_sync()
        return block


class _Calls(nn.Module):
    """A module that calls functions which use `network`: methods also call parts of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()


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
