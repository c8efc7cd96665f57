"""The gradient of a batch, computed at once or in parts that fit into the memory of a GPU.

Two ways of needing less memory compute the same as the complete batch, up to rounding:

- micro-batches: the gradients of parts of the batch are added, each weighted by its share of the samples. This needs a
  loss that is a mean over samples, or a learner whose loss is a function of the network's outputs (`OutputLearner`),
  and a network in which a sample does not depend on the others.
- activations in the host's memory: what the backward pass needs is copied there and back. This holds for every network.

Batch norm in training makes a sample depend on the others, so a batch that does not fit is answered by the second way
there. `training.micro_batch` asks for micro-batches nevertheless: then they decide the statistics of batch norm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sg_bench.config import Stage
from sg_bench.errors import MethodError
from sg_bench.methods.base import Losses
from sg_bench.networks.norm import running_statistics_kept, uses_batch_statistics
from sg_bench.training.compilation import compiler_errors_explained
from sg_bench.training.loader import map_tensors
from sg_bench.training.precision import autocast
from sg_bench.training.ranks import AveragedGradients, World

if TYPE_CHECKING:
    from sg_bench.training.loop import Learner

Weigh = Callable[[Losses, Stage], Tensor]
OFFLOADED_BYTES = 1 << 20
"""Smaller tensors stay on the device: there are many, and they need little memory."""


@runtime_checkable
class OutputLearner(Protocol):
    """A learner whose losses are a function of the network's outputs and the batch, as a batch's Dice loss is."""

    def outputs(self, batch: Any) -> Tensor:
        """Return the network's outputs for a batch, (B, ...)."""

    def losses_of(self, outputs: Tensor, batch: Any) -> Losses:
        """Return the losses of a batch from its outputs."""


@dataclass
class StepMemory:
    """How a training step was made to fit into memory; nothing is changed until a step runs out of it."""

    micro_batch: int | None = None
    """Samples whose gradient is computed at once, of this process; None: all."""
    on_host: bool = False
    """Whether activations are kept in the host's memory until the backward pass."""
    repeated: bool = False
    """Whether a step was repeated after cached memory had been freed."""

    def describe(self) -> dict[str, Any]:
        """Return what a record notes; {} if every step fitted as it was."""
        if self.micro_batch is None and not self.on_host:
            return {}
        return {"step_memory": {"micro_batch": self.micro_batch, "activations": "host" if self.on_host else "device"}}


def next_step_memory(now: StepMemory, samples: int, *, divisible: bool, movable: bool) -> StepMemory | None:
    """Return what to try after a step ran out of memory, or None if nothing is left that computes the same.

    Args:
        now: how the step was computed.
        samples: of the batch, or of a micro-batch that is asked for, in this process.
        divisible: whether micro-batches compute the same as the complete batch.
        movable: whether activations can be kept in the host's memory.
    """
    if not now.repeated:
        return StepMemory(now.micro_batch, now.on_host, repeated=True)
    size = min(samples, now.micro_batch or samples)
    if divisible and size > 1:
        return StepMemory((size + 1) // 2, now.on_host, repeated=True)
    if movable and not now.on_host:
        return StepMemory(now.micro_batch, on_host=True, repeated=True)
    return None


def answers_memory_errors(device: torch.device) -> bool:
    """Return whether a step that runs out of memory is repeated with less: on GPUs, whose memory errors are clean."""
    return device.type == "cuda"


def is_memory_error(error: RuntimeError) -> bool:
    """Return whether an error is a GPU's lack of memory, as PyTorch or one of CUDA's libraries reports it."""
    reported = ("out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in reported)


class Gradients:
    """Computes the gradients of a learner's network, batch by batch.

    Args:
        learner: its network, losses and device.
        weigh: returns the loss to optimise from a batch's losses.
        memory: how to compute, changed in place where a step runs out of memory.
        world: of the processes that share the training, over which gradients are averaged. Only one alone may change
            how it computes: others would wait for it.
    """

    def __init__(self, learner: Learner, weigh: Weigh, memory: StepMemory, world: World | None = None) -> None:
        self.learner, self.weigh, self.memory = learner, weigh, memory
        self.world = world or World()
        self.ranks = self.world.size
        self.guarded = self.ranks == 1 and answers_memory_errors(learner.device)
        self.saved: list[tuple[Tensor, Tensor]] = []

    @cached_property
    def averaged(self) -> AveragedGradients:
        """Gradients that are averaged over ranks; created when the network is where it is trained."""
        return AveragedGradients(self.learner.network, self.world)

    def compute(self, batch: Any, stage: Stage) -> tuple[Tensor, Losses]:
        """Replace the gradients of the network by those of `batch`; return its loss and its losses.

        Of several ranks, each has the means of their gradients, and the loss and losses of its own samples.

        Raises:
            MethodError: micro-batches are asked for, and the loss is not one that can be computed in parts.
            OutOfMemoryError: nothing is left that needs less memory and computes the same.
        """
        samples = stage.training.batch_size // self.ranks
        if not self.guarded:
            return self._step(batch, stage, samples)
        self._save_statistics()
        while True:
            try:
                return self._step(batch, stage, samples)
            except RuntimeError as error:
                if not is_memory_error(error):
                    raise
                self._need_less(error, stage, samples)
            # Outside of the handler, as the error holds the tensors of the step.
            self.learner.network.zero_grad(set_to_none=True)
            self._restore_statistics()
            if self.learner.device.type == "cuda":
                torch.cuda.empty_cache()

    def _step(self, batch: Any, stage: Stage, samples: int) -> tuple[Tensor, Losses]:
        """Compute the gradients of a batch once."""
        self.learner.network.zero_grad(set_to_none=True)
        at_once = stage.training.at_once // self.ranks
        size = min(at_once, self.memory.micro_batch or at_once)
        with compiler_errors_explained(stage.training):
            if size < samples:
                return self._in_parts(batch, stage, samples, size)
            loss, losses = self._losses(batch, stage)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss, losses

    def _in_parts(self, batch: Any, stage: Stage, samples: int, size: int) -> tuple[Tensor, Losses]:
        parts = [_part(batch, start, min(start + size, samples), samples) for start in range(0, samples, size)]
        if self.learner.mean_over_samples:
            return self._added(parts, stage, samples, size)
        if isinstance(self.learner, OutputLearner):
            return self._through_outputs(self.learner, batch, parts, stage)
        raise MethodError(
            f"the losses of stage '{stage.name}' are not declared as means over samples, so a batch cannot be divided",
            hint="Leave out training.micro_batch, or set mean_over_samples = True in a method of which it is true",
        )

    def _losses(self, batch: Any, stage: Stage) -> tuple[Tensor, Losses]:
        found: list[Losses] = []

        def loss() -> Tensor:
            found.append(self.learner.losses(batch, stage))
            return self.weigh(found[0], stage)

        with self._activations(), autocast(self.learner.device, stage.training.precision):
            return self.averaged(loss), found[0]

    def _added(self, parts: list[Any], stage: Stage, samples: int, size: int) -> tuple[Tensor, Losses]:
        """Add the gradients of the parts; return the means of their losses."""
        loss, terms, measures = torch.zeros((), device=self.learner.device), _Sums(), _Sums()
        for number, part in enumerate(parts):
            share = (min((number + 1) * size, samples) - number * size) / samples
            with self._until_last(number, parts):
                own, losses = self._losses(part, stage)
                (own * share).backward()  # type: ignore[no-untyped-call]
            loss = loss + own.detach() * share
            terms.add(losses.terms, share)
            measures.add(losses.measures, share)
        return loss, Losses(terms.sums, measures.sums)

    def _through_outputs(
        self, learner: OutputLearner, batch: Any, parts: list[Any], stage: Stage
    ) -> tuple[Tensor, Losses]:
        """Compute the outputs of all parts first, the loss and its gradient from them, and then the parts again.

        Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup", 2021, section 3.
        """
        device, precision = self.learner.device, stage.training.precision
        with torch.no_grad(), running_statistics_kept(self.learner.network), autocast(device, precision):
            outputs = torch.cat([learner.outputs(part) for part in parts])
        outputs.requires_grad_()
        with autocast(device, precision):
            losses = learner.losses_of(outputs, batch)
            loss = self.weigh(losses, stage)
        (gradient,) = torch.autograd.grad(loss, outputs)
        start = 0
        for number, part in enumerate(parts):
            with self._until_last(number, parts):
                with self._activations(), autocast(device, precision):
                    own = self.averaged(partial(learner.outputs, part))
                own.backward(gradient[start : start + len(own)])  # type: ignore[no-untyped-call]
            start += len(own)
        return loss, losses

    def _until_last(self, number: int, parts: list[Any]) -> AbstractContextManager[None]:
        """Let ranks add up the gradients of all parts but the last, with which they are averaged."""
        return contextlib.nullcontext() if number == len(parts) - 1 else self.averaged.added_up()

    def _activations(self) -> AbstractContextManager[Any]:
        return activations_on_host() if self.memory.on_host else contextlib.nullcontext()

    def _need_less(self, error: RuntimeError, stage: Stage, samples: int) -> None:
        """Change how steps are computed, or raise `error` with what a user can do."""
        alone = not uses_batch_statistics(self.learner.network)
        divisible = alone and (self.learner.mean_over_samples or isinstance(self.learner, OutputLearner))
        found = next_step_memory(
            self.memory, stage.training.at_once // self.ranks, divisible=divisible, movable=not stage.training.compile
        )
        if found is None:
            raise torch.OutOfMemoryError(f"{error}. {_advice(stage, samples)}") from error
        self.memory.micro_batch, self.memory.on_host, self.memory.repeated = (
            found.micro_batch,
            found.on_host,
            found.repeated,
        )

    def _save_statistics(self) -> None:
        """Copy the running statistics of batch norm, which a step that fails may have changed."""
        if not self.saved:
            norms = [each for each in self.learner.network.modules() if isinstance(each, _BatchNorm)]
            self.saved = [(buffer, torch.empty_like(buffer)) for norm in norms for buffer in norm.buffers()]
        for floating in (True, False):  # copied at once if their types are the same
            same = [pair for pair in self.saved if pair[0].is_floating_point() is floating]
            if same:
                torch._foreach_copy_([copy for _, copy in same], [buffer for buffer, _ in same])

    def _restore_statistics(self) -> None:
        with torch.no_grad():
            for buffer, copy in self.saved:
                buffer.copy_(copy)


class _Sums:
    """Sums of named numbers on the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, values: dict[str, Tensor], weight: float) -> None:
        for name, value in values.items():
            term = value.detach() * weight
            self.sums[name] = self.sums[name] + term if name in self.sums else term


@contextlib.contextmanager
def activations_on_host() -> Iterator[None]:
    """Keep what the backward pass of the block's operations needs in the host's memory, with the same values.

    Like `torch.autograd.graph.save_on_cpu`, but memory formats are kept, weights stay on the device, copies do not wait
    for one another, and a tensor that two operations in a row need is copied once.
    """
    last: list[tuple[Tensor, Tensor]] = []

    def pack(tensor: Tensor) -> Any:
        if isinstance(tensor, nn.Parameter) or tensor.nbytes < OFFLOADED_BYTES:
            return tensor
        if not last or not _is_same(last[0][0], tensor):
            host = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            # The tensor is held until the next one, so that none of another value can take its place in memory.
            last[:] = [(tensor, host.copy_(tensor, non_blocking=True))]
        return tensor.device, last[0][1]

    with torch.autograd.graph.saved_tensors_hooks(pack, _unpacked):
        yield
    last.clear()


def _unpacked(packed: Any) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    device, host = packed
    found: Tensor = host.to(device, non_blocking=True)
    return found


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same values at the same place in memory."""
    return (one.data_ptr(), one._version, one.dtype, one.shape, one.stride()) == (
        other.data_ptr(),
        other._version,
        other.dtype,
        other.shape,
        other.stride(),
    )


def _part(batch: Any, start: int, stop: int, samples: int) -> Any:
    """Return the samples from `start` to `stop` of a batch whose tensors are all (B, ...).

    Raises:
        MethodError: a tensor has another length.
    """

    def slice_of(tensor: Tensor) -> Tensor:
        if tensor.dim() == 0 or len(tensor) != samples:
            raise MethodError(
                f"a batch of {samples} samples holds a tensor of shape {tuple(tensor.shape)}, so it cannot be divided",
                hint="Let make_batch return tensors (B, ...), or leave out training.micro_batch",
            )
        return tensor[start:stop]

    return map_tensors(slice_of, batch)


def _advice(stage: Stage, samples: int) -> str:
    training = stage.training
    ways = ["training.precision=bfloat16"] if training.precision != "bfloat16" else []
    ways += ["training.compile=false"] if training.compile else []
    ways += ["more `workers` for a pretraining, which compute the same"]
    half = max(1, (training.micro_batch or samples) // 2)
    ways += [f"training.micro_batch={half}, with which batch norm sees {half} samples (other numbers)"]
    return f"A step of stage '{stage.name}' with {samples} samples does not fit. Use a larger GPU, {', or '.join(ways)}"
