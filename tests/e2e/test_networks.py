"""A suite on another network than the papers', from images to the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Run

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
NETWORK = "network={name: swin_unetr, feature_size: 4, depths: [1, 1], heads: [1, 2], window: 2}"


def test_a_tiny_suite_runs_on_swin_unetr_and_its_table_names_the_network(sg_bench: Run, tmp_path: Path) -> None:
    methods = ("--methods", "scratch,semantic_genesis")
    where = ("--work", tmp_path / "work", "--out", tmp_path / "out", "--jobs", 2)
    done = sg_bench("run", "--suite", TINY, "--set", NETWORK, *methods, *where)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/tables/main.md").read_text()
    assert "Network of all methods, pretrained or not: swin_unetr in 3D." in table
    assert "| semantic_genesis " in table
