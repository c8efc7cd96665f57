"""Compilation of a network's training steps by `torch.compile`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from sg_bench.config import Training
from sg_bench.errors import SgBenchError


def configure_compilation(network: nn.Module, training: Training) -> None:
    """Let calls of `network` be compiled if `training` asks for it, and not otherwise.

    The network stays the same object with the same tensors. What a method calls besides the network itself, such as
    its encoder alone, is not compiled.
    """
    if training.compile:
        network.compile()
    else:
        network._compiled_call_impl = None


@contextmanager
def without_compilation(network: nn.Module) -> Iterator[None]:
    """Run a compiled network as it is in the block: images of many shapes would be compiled one by one."""
    compiled, network._compiled_call_impl = network._compiled_call_impl, None
    try:
        yield
    finally:
        network._compiled_call_impl = compiled


@contextmanager
def compiler_errors_explained(training: Training) -> Iterator[None]:
    """Raise an SgBenchError where `torch.compile` fails, as it does without a compiler for the device."""
    if not training.compile:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SgBenchError(
            f"torch.compile failed: {type(error).__name__}: {cause}",
            hint="Set training.compile=false, or install what it needs: Triton for a GPU, g++ for a CPU",
        ) from error
