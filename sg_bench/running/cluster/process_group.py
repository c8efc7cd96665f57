"""The process group of a training's workers: NCCL where each reports a GPU of its own, else gloo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ray.train.torch import TorchConfig, get_device
from ray.train.torch.config import _TorchBackend

GLOO = "gloo"
NCCL = "cpu:gloo,cuda:nccl"
"""Tensors on GPUs by NCCL; what rank 0 decides and broadcasts is on the CPU."""


@dataclass(frozen=True)
class WorkerDevice:
    """What a worker reports of itself."""

    gpu: str
    """UUID of the GPU that it computes on; "" on a CPU."""
    nccl: bool
    """Whether its PyTorch has NCCL."""


def report_device() -> WorkerDevice:
    """Return what this worker computes on."""
    gpu = str(torch.cuda.get_device_properties(get_device()).uuid) if torch.cuda.is_available() else ""
    return WorkerDevice(gpu, torch.distributed.is_nccl_available())


def choose_backend(workers: Sequence[WorkerDevice]) -> str:
    """Return `NCCL` if all workers have it and a GPU that no other has, which it needs; else `GLOO`."""
    gpus = {worker.gpu for worker in workers if worker.gpu and worker.nccl}
    return NCCL if len(gpus) == len(workers) else GLOO


class ReportedTorchConfig(TorchConfig):
    """Ray Train's set-up of a process group, with the backend that fits what its workers report."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """Return what Ray Train calls once the workers have been started."""
        return _ReportedBackend


class _ReportedBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Connect the workers."""
        backend = choose_backend(worker_group.execute(report_device))
        super().on_start(worker_group, replace(backend_config, backend=backend))
