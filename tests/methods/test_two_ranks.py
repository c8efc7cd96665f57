"""Methods that compare the samples of a batch compute the same with one process and with two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("method_ranks")]
STEPS = 10
NAMES = ["moco_v2", "dino", "dino with head_norm", "simclr", "vicreg"]
Results = dict[tuple[int, int], dict[str, Any]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return what two processes together, and one alone, made of the same trainings."""
    folder = tmp_path_factory.mktemp("ranks")
    script, places = Path(__file__).with_name("two_ranks.py"), [(0, 1), (0, 2), (1, 2)]
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(size), str(folder)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, size in places
    ]
    for process in started:
        _, errors = process.communicate(timeout=480)
        assert process.returncode == 0, errors
    return {place: torch.load(folder / f"rank{place[0]}of{place[1]}.pt", weights_only=False) for place in places}


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_of_two_processes_have_the_curve_of_one(results: Results, name: str) -> None:
    alone, shared = results[0, 1][name]["curves"], results[0, 2][name]["curves"]
    assert len(alone) == len(shared) == STEPS
    assert results[1, 2][name]["curves"] == shared
    for one, other in zip(alone, shared, strict=True):
        for part in ("train", "validation"):
            for measure in one[part].keys() - {"instance_accuracy"}:  # rounding decides between equal similarities
                value = one[part][measure]
                assert other[part][measure] == pytest.approx(value, abs=1e-5, rel=1e-5), (part, measure)


@pytest.mark.parametrize("name", NAMES)
def test_teachers_queues_and_centres_end_the_same(results: Results, name: str) -> None:
    alone, shared = results[0, 1][name]["state"], results[0, 2][name]["state"]
    for tensor, value in alone.items():
        assert torch.equal(shared[tensor], results[1, 2][name]["state"][tensor]), tensor
        torch.testing.assert_close(shared[tensor], value, atol=1e-7, rtol=1e-7)
