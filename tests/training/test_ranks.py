from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from sg_bench.training.checkpoints import load_state, save_state
from sg_bench.training.ranks import AveragedGradients, World
from sg_bench.workspace import Workspace
from tests.training.two_ranks import LOCK, STOP, TIMEOUT, begun, finished

# What several processes compute is computed once, and takes a minute; tests/networks/test_norm.py has a fast part.
pytestmark = [pytest.mark.xdist_group("ranks"), pytest.mark.slow]

Results = dict[tuple[int, int], dict[str, Any]]
TWENTY = ["twenty of semantic_genesis", "twenty of models_genesis"]
JOBS = ["several", "lonely", "none", "images", "divided"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    """Return what two processes together, and one alone, made of the same trainings."""
    begun(folder / "begun on one")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "last.pt").write_bytes(b"no checkpoint")
    places = [(0, 1), (0, 2), (1, 2)]
    with Workspace(folder).lock(LOCK):
        started = [
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("two_ranks.py")), str(rank), str(size), str(folder)],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, size in places
        ]
        while not all((folder / f"waiting{rank}").exists() for rank in (0, 1)):
            if any(process.poll() for process in started):
                break
            time.sleep(0.1)
        else:
            time.sleep(TIMEOUT + 2)
        (folder / "released").touch()
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


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return how a training ends that nothing interrupts."""
    return finished(tmp_path_factory.mktemp("calm"))


class TestResuming:
    """A training begun with one number of processes and finished with another."""

    def test_begun_on_one_process_and_finished_on_two(self, results: Results, calm: dict[str, Any]) -> None:
        for rank in (0, 1):
            check_same_end(results[rank, 2]["finished on two"], calm, [1, 2])

    def test_begun_on_two_processes_and_finished_on_one(
        self, results: Results, calm: dict[str, Any], folder: Path
    ) -> None:
        assert not any(folder.glob("of rank 1*"))
        check_same_end(finished(folder / "begun on two"), calm, [2, 1])

    def test_a_damaged_checkpoint_is_set_aside_once_and_all_ranks_start_anew(
        self, results: Results, calm: dict[str, Any], folder: Path
    ) -> None:
        assert (folder / "damaged" / "last.damaged").read_bytes() == b"no checkpoint"
        for rank in (0, 1):
            check_same_end(results[rank, 2]["anew on two"], calm, [2])

    def test_a_checkpoint_of_a_version_that_kept_no_numbers_of_processes_is_continued(self, tmp_path: Path) -> None:
        begun(tmp_path)
        state = load_state(tmp_path)
        assert state is not None
        assert state.pop("world_sizes") == [1]
        save_state(tmp_path, state)
        assert finished(tmp_path)["world_sizes"] == [1]
        assert not (tmp_path / "last.damaged").exists()


def check_same_end(found: dict[str, Any], calm: dict[str, Any], world_sizes: list[int]) -> None:
    assert found["world_sizes"] == world_sizes
    assert found["curves"][-1]["step"] == calm["curves"][-1]["step"] > STOP
    for name, tensor in calm["weights"].items():
        torch.testing.assert_close(found["weights"][name], tensor, atol=1e-9, rtol=1e-9)
    losses = ([row["train"]["loss"] for row in each["curves"]] for each in (found, calm))
    assert next(losses) == pytest.approx(next(losses), rel=1e-6)


def test_ranks_outwait_a_lock_that_another_process_holds_for_longer_than_they_wait_for_each_other(
    results: Results,
) -> None:
    first, second = results[0, 2]["waited"], results[1, 2]["waited"]
    assert first.pop("held")
    assert (first.pop("error"), second.pop("error")) == (
        "IndexError: list index out of range",
        "SgBenchError: rank 0 stopped: list index out of range",
    )
    assert first == second == {"refused": True, "released": True, "decided": "by rank 0"}


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
    assert layer.weight.grad == 1
    assert World().all_reduce(torch.ones(1)) == 1
    assert World().gather(layer.weight) is layer.weight
