"""What fits on a cluster is decided by GPUs where there are any."""

from __future__ import annotations

import pytest

from sg_bench.running.cluster.occupancy import Demand, Occupancy

CELL, TRAINING, TASK = Demand(gpus=0.25), Demand(1.0, 1.0), Demand(1.0)


def fitting(occupancy: Occupancy, demand: Demand) -> int:
    """Return how many of a kind are admitted before one is refused."""
    count = 0
    while occupancy.fits(demand) and count < 99:
        occupancy.take(str(count), demand)
        count += 1
    return count


@pytest.mark.parametrize(
    ("occupancy", "demand", "count"),
    [
        (Occupancy(2), TASK, 2),
        (Occupancy(2, 8), CELL, 32),
        (Occupancy(4, 2), Demand(gpus=0.3333), 6),
        (Occupancy(16, 2), TRAINING, 2),
        (Occupancy(1, 2), TRAINING, 1),
        (Occupancy(2), Demand(4.0), 1),
    ],
)
def test_as_many_are_admitted_as_fit_and_at_least_one(occupancy: Occupancy, demand: Demand, count: int) -> None:
    assert fitting(occupancy, demand) == count


def test_processors_that_prepare_images_do_not_keep_cells_from_gpus() -> None:
    occupancy = Occupancy(2, 1)
    assert fitting(occupancy, TASK) == 2
    assert occupancy.fits(CELL)
    assert not occupancy.fits(TRAINING)


def test_what_is_queued_counts_and_what_has_ended_does_not() -> None:
    occupancy = Occupancy(2)
    occupancy.take("a", TASK)
    assert occupancy.fits(TASK)
    assert not occupancy.fits(TASK, [TASK])
    occupancy.release("a")
    assert occupancy.fits(TASK, [TASK])


@pytest.mark.parametrize(
    ("demand", "resources"), [(CELL, {"GPU": 0.25}), (TRAINING, {"CPU": 1.0, "GPU": 1.0}), (Demand(), {"CPU": 1.0})]
)
def test_ray_is_asked_for_what_is_needed(demand: Demand, resources: dict[str, float]) -> None:
    assert demand.resources == resources
