"""The card's name, memory, and its measured matrix and copy rates."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_sections.common import (
    PRECISIONS,
    arithmetic,
    cuda,
    timed,
)


def card() -> dict[str, Any]:
    """Return the card's name, memory, and its measured matrix and copy rates."""
    properties = torch.cuda.get_device_properties(0)
    size = 8192
    rates = {}
    for precision in PRECISIONS:
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        left, right = (torch.randn(size, size, device=cuda(), dtype=kind) for _ in range(2))
        with arithmetic(precision):
            rates[precision] = round(2 * size**3 / timed(lambda a=left, b=right: a @ b) / 1e12, 1)  # type: ignore[misc]
    source = torch.randn(2**30, device=cuda())
    target = torch.empty_like(source)
    copied = 2 * source.numel() * 4 / timed(lambda: target.copy_(source)) / 1e12
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "matrix_product_tflops": rates,
        "copy_tb_per_second": round(copied, 2),
        "software": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "numpy": np.__version__,
        },
    }
