"""Arithmetic of a training: its precision, and whether it is deterministic. A training's settings decide alone."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch

from sg_bench.config import Precision, Training


def configure_arithmetic(training: Training) -> None:
    """Let this process compute in the precision of `training`, and deterministically if it asks for that.

    PyTorch uses TensorFloat-32 in convolutions on a GPU unless it is switched off. The settings also hold for the
    backward pass and for inference, where autocast does not.
    """
    tf32 = training.precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not training.deterministic
    torch.use_deterministic_algorithms(training.deterministic, warn_only=True)
    # Filling new tensors with NaN is a guard for debugging, and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return bfloat16 autocast where `precision` is bfloat16, on any device, else a context without effect."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
