"""How a training's workers communicate; nothing here starts Ray."""

from __future__ import annotations

from typing import Any

import pytest
from ray import cloudpickle
from ray.train.torch.config import TorchConfig, _TorchBackend

from sg_bench.running.cluster.process_group import (
    GLOO,
    NCCL,
    ReportedTorchConfig,
    WorkerDevice,
    choose_backend,
    report_device,
)


@pytest.mark.parametrize(
    ("workers", "backend"),
    [
        ([WorkerDevice("GPU-a", True), WorkerDevice("GPU-b", True)], NCCL),
        ([WorkerDevice("GPU-a", True)], NCCL),
        ([WorkerDevice("GPU-a", True), WorkerDevice("GPU-a", True)], GLOO),
        ([WorkerDevice("GPU-a", True), WorkerDevice("", True)], GLOO),
        ([WorkerDevice("GPU-a", True), WorkerDevice("GPU-b", False)], GLOO),
        ([WorkerDevice("", False), WorkerDevice("", False)], GLOO),
    ],
)
def test_nccl_is_for_workers_that_have_it_and_a_gpu_each(workers: list[WorkerDevice], backend: str) -> None:
    assert choose_backend(workers) == backend


def test_a_worker_without_a_gpu_reports_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert report_device().gpu == ""


def test_train_connects_its_workers_by_what_they_report(monkeypatch: pytest.MonkeyPatch) -> None:
    class Workers:
        def execute(self, report: Any) -> list[WorkerDevice]:
            assert report is report_device
            return [WorkerDevice("GPU-a", True), WorkerDevice("GPU-b", True)]

    started: list[TorchConfig] = []
    monkeypatch.setattr(_TorchBackend, "on_start", lambda self, workers, config: started.append(config))
    config = cloudpickle.loads(cloudpickle.dumps(ReportedTorchConfig(timeout_s=60)))
    config.backend_cls().on_start(Workers(), config)
    assert [(config.backend, config.timeout_s) for config in started] == [(NCCL, 60)]
