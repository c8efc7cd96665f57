"""The machine that this process runs on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

QUERY_SECONDS = 20.0
"""How long `nvidia-smi` may take."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def gpu_names() -> list[str]:
    """Return the names of this machine's GPUs that its driver lists; CUDA_VISIBLE_DEVICES="" hides them."""
    program = shutil.which("nvidia-smi")
    if not program or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    command = (program, "--query-gpu=name", "--format=csv,noheader")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def hardware() -> dict[str, Any]:
    """Return this machine's hardware as records describe it, without importing torch."""
    return {
        "machine": platform.machine(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "device": next(iter(gpu_names()), "cpu"),
    }
