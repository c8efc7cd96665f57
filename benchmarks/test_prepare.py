"""How fast a case is prepared, in MB of source file a second: reading, the new grid, writing into the store."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pytest_benchmark.fixture import BenchmarkFixture

from sg_bench.config import Preparation
from sg_bench.data.prepare import prepare
from sg_bench.data.sources.folder import FolderConfig, FolderSource
from sg_bench.data.store import write_case

GRIDS: dict[str, dict[str, Any]] = {"native": {}, "1mm": {"spacing": (1, 1, 1)}, "256": {"shape": (256, 256, None)}}


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one CT, 512 x 512 x 64, as LUNA16 keeps it."""
    folder = tmp_path_factory.mktemp("scan")
    draw = np.random.default_rng(0).integers(-1000, 1000, (64, 512, 512), dtype=np.int16)
    image = sitk.GetImageFromArray(draw)
    image.SetSpacing((0.7, 0.7, 1.25))
    sitk.WriteImage(image, folder / "ct.mhd")
    return folder


@pytest.mark.parametrize("grid", GRIDS)
def test_one_ct(benchmark: BenchmarkFixture, scan: Path, tmp_path: Path, grid: str) -> None:
    source, preparation = FolderSource(FolderConfig(images="*.mhd"), scan), Preparation.model_validate(GRIDS[grid])
    (case,) = source.scan()
    rounds = count()

    def work() -> None:
        write_case(tmp_path / str(next(rounds)), case, prepare(source.load(case), preparation))

    work()  # imports what preparing takes
    benchmark.pedantic(work, rounds=3, iterations=1)
    if benchmark.stats:  # None where benchmarks only run as tests
        size = sum(path.stat().st_size for path in case.files())
        benchmark.extra_info["megabytes_a_second"] = size / 1e6 / benchmark.stats.stats.median
