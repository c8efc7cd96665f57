"""Arithmetic of a training: IEEE float32, TensorFloat-32, or bfloat16 autocast. A training's setting decides alone."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch

from sg_bench.config import Precision


def apply_precision(precision: Precision) -> None:
    """Let float32 products and convolutions of this process use TensorFloat-32 where `precision` is tf32, else not.

    PyTorch uses TensorFloat-32 in convolutions on a GPU unless it is switched off. The setting also holds for the
    backward pass and for inference, where autocast does not.
    """
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return bfloat16 autocast where `precision` is bfloat16, on any device, else a context without effect."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
