from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sg_bench.training.ranks import AveragedGradients, World

pytestmark = pytest.mark.xdist_group("ranks")  # what several processes compute is computed once

Results = dict[tuple[int, int], dict[str, Any]]
TWENTY = ["twenty of semantic_genesis", "twenty of models_genesis"]
JOBS = ["several", "lonely", "none", "images", "divided"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return what two processes together, and one alone, made of the same trainings."""
    folder = tmp_path_factory.mktemp("ranks")
    places = [(0, 1), (0, 2), (1, 2)]
    started = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("two_ranks.py")), str(rank), str(size), str(folder)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, size in places
    ]
    for process in started:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    return {place: torch.load(folder / f"rank{place[0]}of{place[1]}.pt", weights_only=False) for place in places}


@pytest.mark.parametrize("job", JOBS)
def test_both_ranks_end_with_the_same_weights_statistics_and_curves(results: Results, job: str) -> None:
    one, other = results[0, 2][job], results[1, 2][job]
    assert one["curves"] == other["curves"]
    assert all(torch.equal(tensor, other["weights"][name]) for name, tensor in one["weights"].items())


@pytest.mark.parametrize("job", JOBS)
def test_two_ranks_end_where_one_process_with_the_same_batches_does(results: Results, job: str) -> None:
    alone, shared = results[0, 1][job]["weights"], results[0, 2][job]["weights"]
    for name, tensor in alone.items():
        torch.testing.assert_close(shared[name], tensor, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("job", JOBS)
def test_curves_of_two_ranks_are_those_of_the_whole_batches(results: Results, job: str) -> None:
    alone, shared = results[0, 1][job]["curves"], results[0, 2][job]["curves"]
    assert [(row["stage"], row["step"]) for row in alone] == [(row["stage"], row["step"]) for row in shared]
    for one, other in zip(alone, shared, strict=True):
        assert ("validation" in one) == (job not in ("none", "divided"))
        for part in {"train", "validation"} & one.keys():
            assert other[part] == pytest.approx(one[part], rel=1e-4)


@pytest.mark.parametrize("job", TWENTY)
def test_twenty_steps_of_adam_on_two_ranks_are_those_of_one_process(results: Results, job: str) -> None:
    alone, shared = ([row["train"]["loss"] for row in results[place][job]["curves"]] for place in ((0, 1), (0, 2)))
    assert len(alone) == 20
    assert shared == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_gather_the_rows_of_all_with_the_gradient_of_one_process(results: Results, rank: int) -> None:
    alone, shared = results[0, 1]["gathered"], results[rank, 2]["gathered"]
    assert shared.keys() == alone.keys()
    for name in ("every", "uneven", "none here"):
        assert torch.equal(shared[name], alone[name])
    torch.testing.assert_close(shared["gradient"], alone["gradient"], rtol=1e-14, atol=0)


def test_ranks_take_consecutive_shares_of_a_batch() -> None:
    assert [World(rank, 3).slice(range(6)) for rank in range(3)] == [range(0, 2), range(2, 4), range(4, 6)]


def test_alone_nothing_is_averaged_or_waited_for() -> None:
    layer = torch.nn.Linear(1, 1)
    layer(torch.ones(1, 1)).sum().backward()
    assert AveragedGradients(layer, World())(lambda: layer(torch.ones(1, 1))) == layer(torch.ones(1, 1))
    World().barrier()
    assert layer.weight.grad == 1
    assert World().all_reduce(torch.ones(1)) == 1
    assert World().gather(layer.weight) is layer.weight
