"""What tests of several rooms share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.data.prepare import PreparedCase, VoxelCandidate
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, write_case


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images that some tests read; skip them where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "real_data"
    folder = Path(os.environ.get("SG_BENCH_REAL_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set SG_BENCH_REAL_DATA to a folder that holds them")
    return folder


@pytest.fixture(scope="session")
def make_store() -> Callable[[Path, Mapping[str, Mapping[str, Any]]], Store]:
    """Return a function that writes a store of cases: image, label and candidates (position, positive)."""

    def make(folder: Path, cases: Mapping[str, Mapping[str, Any]]) -> Store:
        for id_, parts in cases.items():
            candidates = [VoxelCandidate(place, found, None) for place, found in parts.get("candidates", [])]
            image, label = np.asarray(parts["image"], np.float16), parts.get("label")
            mask = None if label is None else np.asarray(label, np.uint8)
            write_case(folder, Case(id_, id_), PreparedCase(image, (1.0, 1.0, 1.0), np.eye(4), mask, candidates))
        finish(folder, {}, cases)
        return Store.open(folder)

    return make
