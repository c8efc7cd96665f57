"""A failure names its cause, and is retried only where another attempt may succeed."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from sg_bench.errors import DataError, MethodError, SgBenchError
from sg_bench.planning import is_built
from sg_bench.running.failures import Failure, failed_record
from tests.recipes import fake_job

STORE = fake_job("store", "ab" * 32, title="prepare scans")


@pytest.mark.parametrize(
    ("error", "kind", "transient"),
    [
        (MemoryError(), "infrastructure", True),
        (OSError("disk full"), "infrastructure", True),
        (ConnectionResetError("peer"), "infrastructure", True),
        (BrokenProcessPool("killed"), "infrastructure", True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "infrastructure", True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "infrastructure", True),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            "infrastructure",
            True,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "infrastructure", True),
        (RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"), "infrastructure", True),
        (RuntimeError("No CUDA GPUs are available"), "infrastructure", True),
        (torch.distributed.DistBackendError("NCCL error in: init.cpp, unhandled system error"), "infrastructure", True),
        (torch.distributed.DistNetworkError("The client socket has timed out"), "infrastructure", True),
        (torch.distributed.DistStoreError("wait timeout after 1000ms"), "infrastructure", True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:4711"), "infrastructure", True),
        (RuntimeError("Gloo connectFullMesh failed with no error"), "infrastructure", True),
        (SgBenchError("no cluster"), "infrastructure", False),
        (DataError("no images"), "data", False),
        (MethodError("the loss is NaN"), "method", False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x8 and 9x2)"), "method", False),
        (RuntimeError("CUDA error: device-side assert triggered"), "method", False),
        (ValueError("out of memory, says a method of its own cache"), "method", False),
        (KeyError("labels"), "method", False),
    ],
)
def test_a_failure_is_classified_and_only_the_machines_are_tried_again(
    error: Exception, kind: str, transient: bool
) -> None:
    failure = Failure.of(error)
    assert (failure.kind, failure.transient) == (kind, transient)


def test_a_failed_cell_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    try:
        raise ValueError(f"{tmp_path / 'work' / 'initialisations'} and {tmp_path / 'scans' / 'a.nii'} differ")
    except ValueError as error:
        failure = Failure.of(error)
    record = failed_record(STORE, failure, [tmp_path / "work", tmp_path / "scans"])
    assert record["error"]["message"] == "initialisations and a.nii differ"
    assert str(tmp_path) not in json.dumps(record)


def test_a_traceback_names_this_packages_code_from_its_root() -> None:
    try:
        is_built(None, STORE)  # type: ignore[arg-type]
    except AttributeError as error:
        failure = Failure.of(error)
    reason = failed_record(STORE, failure)["error"]["traceback"]
    assert 'File "sg_bench/planning/plans.py"' in reason


@pytest.mark.parametrize("error", [DataError("no images"), DataError("no images", hint="Add some")])
def test_an_error_meant_for_people_needs_no_traceback(error: DataError) -> None:
    assert Failure.of(error) == Failure("data", "DataError", str(error), "")
