"""What tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images that some tests read; skip them where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "real_data"
    folder = Path(os.environ.get("SG_BENCH_REAL_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set SG_BENCH_REAL_DATA to a folder that holds them")
    return folder
