"""Settings that make a worker process reproducible, and the software and hardware that records describe."""

from __future__ import annotations

import functools
import gc
import os
import platform
import resource
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from sg_bench.machine import processor_name

PACKAGES = ("torch", "torchio", "monai", "numpy", "scipy", "scikit-learn", "nibabel", "SimpleITK", "ray")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MEGABYTE = 1 << 20


def configure_torch() -> None:
    """Configure torch: one thread, and deterministic algorithms where the device has them."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    # Filling new tensors with NaN is a guard for debugging, and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def single_threaded() -> dict[str, str]:
    """Return the environment variables that a worker process must be started with."""
    memory = {"MALLOC_ARENA_MAX": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    return {**dict.fromkeys(THREAD_VARIABLES, "1"), **memory}


def compute_device() -> Any:
    """Return the first visible GPU, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def free_memory() -> None:
    """Return cached memory to the system and the GPU, for the next attempt of a job that lacked it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class Stopwatch:
    """Wall time, processor time and peak memory of a job."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return the seconds so far, and the peak memory of this process in MiB, over all its jobs."""
        import torch

        peak = {"peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
        if torch.cuda.is_available():
            peak["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated() / MEGABYTE, 1)
            peak["reserved_device_memory_mib"] = round(torch.cuda.max_memory_reserved() / MEGABYTE, 1)
        return {
            "wall_seconds": round(time.perf_counter() - self._wall, 3),
            "processor_seconds": round(time.process_time() - self._processor, 3),
            **peak,
        }


@functools.cache
def describe_environment() -> dict[str, Any]:
    """Return versions of software, the hardware and the git commit; no host name, user or path."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "software": {"python": platform.python_version(), "sg-bench": _version("sg-bench"), **_versions()},
        "hardware": {
            "machine": platform.machine(),
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "device": device,
        },
        "git": _git_state(),
        "threads": torch.get_num_threads(),
    }


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git_state() -> dict[str, Any] | None:
    """Return the commit of this package's checkout and whether files were changed since; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout  # noqa: S603, S607
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.strip(), "changed": bool(status.strip())}
