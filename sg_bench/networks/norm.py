"""Batch norm across processes, and the three ways to normalise in evaluation.

torch's own SyncBatchNorm does not support CPU tensors; this one works wherever torch.distributed does, and has the
state dict of ordinary batch norm.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sg_bench.errors import MethodError

_Network = TypeVar("_Network", bound=nn.Module)


class _CrossRank(_BatchNorm):
    """Batch norm with training statistics over the batches of all ranks.

    Every rank must run the layer the same number of times, forward and backward; a rank's own batch may be empty.
    In evaluation mode, and with a single rank, this is ordinary batch norm.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return (B, C, ...), normalised over batch and space; the statistics are at least float32."""
        if not self.training or _world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        out, count, mean, variance = _Normalised.apply(input, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        self._update_running(count, mean, variance)
        return cast(Tensor, out)

    def _update_running(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of the global batch, with unbiased variance."""
        if self.running_mean is None or self.running_var is None or not self.track_running_stats:
            return
        factor = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            factor = 1 / float(self.num_batches_tracked) if factor is None else factor
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor or 0.0)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), factor or 0.0)


class CrossRankBatchNorm1d(_CrossRank, nn.BatchNorm1d):
    """`_CrossRank` for features (B, C)."""


class CrossRankBatchNorm2d(_CrossRank, nn.BatchNorm2d):
    """`_CrossRank` for images (B, C, X, Y)."""


class CrossRankBatchNorm3d(_CrossRank, nn.BatchNorm3d):
    """`_CrossRank` for volumes (B, C, X, Y, Z)."""


_REPLACEMENTS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: CrossRankBatchNorm1d,
    nn.BatchNorm2d: CrossRankBatchNorm2d,
    nn.BatchNorm3d: CrossRankBatchNorm3d,
}


def convert_sync_batchnorm(network: _Network) -> _Network:
    """Convert every ordinary batch norm in `network` to its cross-rank version, in place, and return it.

    Only the class of a module changes: its parameters, buffers and hooks stay the same objects, so optimisers keep
    working.
    """
    for module in network.modules():
        if type(module) in _REPLACEMENTS:
            module.__class__ = _REPLACEMENTS[type(module)]
    return network


def reestimate(network: nn.Module, batches: Iterable[Tensor], device: torch.device | str) -> None:
    """Set the running statistics of every batch norm to their unweighted mean over `batches`.

    Batch norms run in training mode and everything else in evaluation mode, without gradients; parameters, momentum and
    modes are restored afterwards. Every rank must have the same number of batches.

    Args:
        network: called as network(batch).
        batches: (B, C, X, Y[, Z]) each, in [0, 1].
        device: of the network.

    Raises:
        MethodError: there are no batches; the statistics are then unchanged.
    """
    norms = _norms(network)
    if not norms:
        return
    rest = iter(batches)
    first = next(rest, None)
    if first is None:
        raise MethodError("no batches to re-estimate batch norm from", hint="Give at least one training batch")
    with _modes_restored(network), _cumulative(norms), torch.no_grad():
        network.eval()
        for norm in norms:
            norm.train()
        for batch in itertools.chain([first], rest):
            network(batch.to(device))


@contextmanager
def use_batch_statistics(network: nn.Module) -> Iterator[None]:
    """Normalise each batch with its own statistics in evaluation, as the official code does.

    In the block the network is in evaluation mode and its running statistics are removed, so they cannot change; a
    batch must have more than one value per channel. A prediction then depends on the other images of its batch.
    """
    norms = _norms(network)
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    with _modes_restored(network):
        network.eval()
        try:
            for norm in norms:
                norm.running_mean = norm.running_var = None
            yield
        finally:
            for norm, (mean, variance) in zip(norms, kept, strict=True):
                norm.running_mean, norm.running_var = mean, variance


def uses_batch_statistics(network: nn.Module) -> bool:
    """Return whether some batch norm normalises with the statistics of the batch, as all do in training."""
    norms = (module for module in network.modules() if isinstance(module, _BatchNorm))
    return any(norm.training or norm.running_mean is None for norm in norms)


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Leave the running statistics of every batch norm as they are in the block; the outputs are the same."""
    norms = _norms(network)
    tracking = [norm.track_running_stats for norm in norms]
    training = [norm for norm in norms if norm.training]
    try:
        for norm in training:
            norm.track_running_stats = False
        yield
    finally:
        for norm, track in zip(norms, tracking, strict=True):
            norm.track_running_stats = track


class _Normalised(torch.autograd.Function):
    """Batch norm with the statistics of all ranks: (B, C, ...) and count, mean and biased variance in float64.

    Written out, as PyTorch does for one process, because differentiating each operation reads and keeps the images
    several times more. A rank's gradients of weight and bias are those of its own losses; that of the input is of the
    losses of all ranks, as every output depends on every input.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        shift = _own_mean(x)
        centred = x - _along_channels(shift, x)
        count, mean, variance = _global_moments(centred, shift.double())
        inverse, offset = torch.rsqrt(variance + eps), mean - shift
        scale = inverse if weight is None else inverse * weight
        start = -offset * scale if bias is None else bias - offset * scale
        out = torch.addcmul(_along_channels(start, x), centred, _along_channels(scale, x))
        ctx.save_for_backward(centred, count, offset, inverse, scale)
        ctx.mark_non_differentiable(count, mean, variance)
        return out.to(input.dtype), count, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        centred, count, offset, inverse, scale = ctx.saved_tensors
        gradient = gradients[0].to(centred.dtype)
        own = gradient.sum(_axes_but_channels(gradient)).double()
        own_product = (gradient * centred).sum(_axes_but_channels(gradient)).double() - offset * own
        total, total_product = (_sum_over_ranks(torch.cat((own, own_product))) / count).chunk(2)
        slope = -scale * inverse.square() * total_product
        start = -scale * total - slope * offset
        through = torch.addcmul(_along_channels(start, centred), centred, _along_channels(slope, centred))
        through.addcmul_(gradient, _along_channels(scale, centred))
        needs = ctx.needs_input_grad
        return (
            through.to(gradients[0].dtype),
            (own_product * inverse).to(centred.dtype) if needs[1] else None,
            own.to(centred.dtype) if needs[2] else None,
            None,
        )


def _own_mean(x: Tensor) -> Tensor:
    """Return the per-channel mean of this rank's (B, C, ...); zero if the batch is empty."""
    return x.sum(_axes_but_channels(x)) * (x.shape[1] / max(x.numel(), 1))


def _global_moments(centred: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return count (1), mean (C) and biased variance (C) over all ranks of x = `centred` + `shift`, in float64.

    Every rank subtracts its own mean first, and only vectors of C numbers are shifted back and summed, in float64,
    so a mean far from zero costs no precision.
    """
    size = centred.numel() // centred.shape[1]  # of this rank; 0 if its batch is empty
    sums = centred.sum(_axes_but_channels(centred)).double()
    squares = centred.square().sum(_axes_but_channels(centred)).double()
    here = torch.cat((shift.new_full((1,), size), sums + size * shift, squares + shift * (2 * sums + size * shift)))
    total = _sum_over_ranks(here)
    count = total[:1].detach().clamp(min=1)
    mean, mean_square = (total[1:] / count).chunk(2)
    return count, mean, (mean_square - mean.square()).clamp(min=0)


def _axes_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1]


def _sum_over_ranks(local: Tensor) -> Tensor:
    dist.all_reduce(local)
    return local


def _along_channels(vector: Tensor, like: Tensor) -> Tensor:
    return vector.to(like.dtype).view(1, -1, *[1] * (like.dim() - 2))


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of `network` that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@contextmanager
def _modes_restored(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _cumulative(norms: list[_BatchNorm]) -> Iterator[None]:
    """Reset the running statistics, and in the block average them over batches with equal weights."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
