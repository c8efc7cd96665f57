from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.errors import DataError
from sg_bench.training.draws import (
    Draw,
    Purpose,
    calibration_batches,
    epoch_batches,
    generator,
    validation_batches,
)
from sg_bench.training.ranks import World


def batches(seed: int = 3, stage: int = 0, epoch: int = 0, samples: int = 10, size: int = 4, steps: int = 5) -> list:
    return list(epoch_batches(seed, stage, epoch, samples=samples, batch_size=size, steps=steps))


def values_of(draws: list[Draw]) -> list[tuple[int, float]]:
    return [(draw.index, draw.rng.random()) for draw in draws]


def test_a_batch_is_a_function_of_seed_stage_epoch_and_position() -> None:
    assert [values_of(batch) for batch in batches()] == [values_of(batch) for batch in batches()]
    first = values_of(batches()[0])
    for other in ({"seed": 4}, {"stage": 1}, {"epoch": 1}):
        changed = values_of(batches(**other)[0])
        assert [index for index, _ in changed] != [index for index, _ in first]
        assert not {value for _, value in changed} & {value for _, value in first}


def test_a_batch_does_not_depend_on_how_many_come_after_it() -> None:
    assert values_of(batches(steps=2)[1]) == values_of(batches(steps=5)[1])


@given(samples=st.integers(1, 30), size=st.integers(1, 12), seed=st.integers(0, 5))
def test_every_sample_comes_once_in_every_pass(samples: int, size: int, seed: int) -> None:
    steps = -(-3 * samples // size)
    drawn = [draw.index for batch in batches(seed=seed, samples=samples, size=size, steps=steps) for draw in batch]
    for first in range(0, 3 * samples, samples):
        assert sorted(drawn[first : first + samples]) == list(range(samples))


def test_each_position_has_random_numbers_of_its_own() -> None:
    values = [value for batch in batches(samples=3, steps=20) for _, value in values_of(batch)]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_global_batch_is_the_same_at_any_world_size(size: int) -> None:
    def shared() -> list[tuple[int, float]]:
        return [pair for rank in range(size) for pair in values_of(list(World(rank, size).slice(batches(size=8)[1])))]

    assert shared() == values_of(batches(size=8)[1])


def test_validation_batches_hold_every_sample_once_in_order_the_same_every_time() -> None:
    def drawn() -> list[list[tuple[int, float]]]:
        return [values_of(batch) for batch in validation_batches(1, samples=7, batch_size=3)]

    assert drawn() == drawn()
    assert [[index for index, _ in batch] for batch in drawn()] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_validation_samples_random_numbers_do_not_depend_on_the_batch_size() -> None:
    def drawn(size: int) -> list[tuple[int, float]]:
        batches = validation_batches(1, samples=7, batch_size=size)
        return [pair for batch in batches for pair in values_of(batch)]

    assert drawn(2) == drawn(7)


def test_there_are_no_validation_batches_without_samples() -> None:
    assert list(validation_batches(1, samples=0, batch_size=3)) == []


def test_calibration_takes_full_batches_from_all_over_the_samples() -> None:
    drawn = list(calibration_batches(0, samples=1000, batch_size=5, at_most=16))
    indices = [draw.index for batch in drawn for draw in batch]
    assert ([len(batch) for batch in drawn], len(set(indices))) == ([5] * 16, 80)
    assert min(Counter(index // 250 for index in indices).values()) > 8
    again = list(calibration_batches(0, samples=1000, batch_size=5, at_most=16))
    assert [values_of(batch) for batch in again] == [values_of(batch) for batch in drawn]


@pytest.mark.parametrize(("samples", "sizes"), [(9, [4, 4]), (3, [4]), (8, [4, 4])])
def test_calibration_passes_once_over_few_samples_and_fills_its_only_batch(samples: int, sizes: list[int]) -> None:
    drawn = list(calibration_batches(0, samples=samples, batch_size=4, at_most=16))
    assert [len(batch) for batch in drawn] == sizes


def test_batches_of_no_samples_are_refused_rather_than_waited_for() -> None:
    with pytest.raises(DataError, match="no training samples"):
        batches(samples=0)
    with pytest.raises(DataError, match="no training samples"):
        next(calibration_batches(0, samples=0, batch_size=2, at_most=2))


def test_purposes_have_streams_of_their_own() -> None:
    first = [generator(3, purpose, 1, 2).random() for purpose in Purpose]
    assert len(set(first)) == len(Purpose)


def test_no_global_random_state_is_touched() -> None:
    def states() -> list[str]:
        numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002
        return [str(random.getstate()), str([str(part) for part in numpy_state]), str(torch.get_rng_state().tolist())]

    before = states()
    for batch in islice(epoch_batches(0, 0, 0, samples=5, batch_size=2, steps=3), 3):
        values_of(batch)
    for batch in calibration_batches(0, samples=5, batch_size=2, at_most=2):
        values_of(batch)
    assert states() == before
