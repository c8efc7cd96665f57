"""Installs the package of broken methods where this process and its workers find it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg_bench.registry import METHODS
from sg_bench.testing import learning
from tests.testing import broken_configs

HERE = Path(__file__).parent
NAMES = ("Sound", *broken_configs.FINDINGS)


@pytest.fixture(scope="module")
def broken_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install broken.py and broken_configs.py, with an entry point a method."""
    site = tmp_path_factory.mktemp("site")
    for name in ("broken.py", "broken_configs.py"):
        shutil.copy(HERE / name, site)
    info = site / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "".join(f"{name} = broken_configs:{name}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[sg_bench.methods]\n{points}")
    learning.worker.cache_clear()  # a worker that was started before does not know the package
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        patch.syspath_prepend(str(site))
        for name in NAMES:
            patch.setitem(METHODS._entries, name, getattr(broken_configs, name))
            patch.setitem(METHODS._owners, name, "broken")
        yield
    learning.worker.cache_clear()
