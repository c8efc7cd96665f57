"""Who is in which batch, and each sample's own random numbers: a function of (seed, stage, epoch, position).

Nothing here has a state. Batches are the same at any world size, and a resumed training draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from sg_bench.errors import DataError


class Purpose(IntEnum):
    """What a draw is for; keeps the streams of one seed apart."""

    ORDER = 0
    TRAIN = 1
    VALIDATION = 2
    CALIBRATION = 3
    WEIGHTS = 4
    PLACES = 5
    EPOCH = 6
    DISCOVERY = 7
    LABELS = 8


@dataclass(frozen=True)
class Draw:
    """One sample of a batch: which one, and its random numbers."""

    index: int
    """Into the training or validation samples."""
    rng: np.random.Generator


def generator(seed: int, purpose: Purpose, *where: int) -> np.random.Generator:
    """Return the random numbers of one purpose at one place (stage, epoch, position)."""
    return np.random.default_rng([seed, int(purpose), *where])


def epoch_batches(
    seed: int, stage: int, epoch: int, *, samples: int, batch_size: int, steps: int
) -> Iterator[list[Draw]]:
    """Yield `steps` global batches: passes over `samples` in fresh random orders, one after the other.

    Raises:
        DataError: there is nothing to train on.
    """
    order = _endless(seed, Purpose.ORDER, (stage, epoch), samples)
    for step in range(steps):
        positions = range(step * batch_size, (step + 1) * batch_size)
        yield [Draw(next(order), generator(seed, Purpose.TRAIN, stage, epoch, position)) for position in positions]


def calibration_batches(seed: int, *, samples: int, batch_size: int, at_most: int) -> Iterator[list[Draw]]:
    """Yield one pass in full batches, or `at_most` of them, with the same order and random numbers every time.

    The order is random because samples of a kind stand together; fewer samples than a batch holds are repeated.
    """
    order = _endless(seed, Purpose.CALIBRATION, (0,), samples)
    for step in range(min(at_most, max(1, samples // batch_size))):
        positions = range(step * batch_size, (step + 1) * batch_size)
        yield [Draw(next(order), generator(seed, Purpose.CALIBRATION, 1, position)) for position in positions]


def fixed_batches(seed: int, purpose: Purpose, *, samples: int, batch_size: int) -> Iterator[list[Draw]]:
    """Yield all samples once, in order, with the same random numbers every time."""
    for start in range(0, samples, batch_size):
        indices = range(start, min(start + batch_size, samples))
        yield [Draw(index, generator(seed, purpose, index)) for index in indices]


def _endless(seed: int, purpose: Purpose, where: tuple[int, ...], samples: int) -> Iterator[int]:
    if not samples:
        raise DataError("there is not one training sample", hint="Check the split, and the task's sampling")
    turn = 0
    while True:
        yield from generator(seed, purpose, *where, turn).permutation(samples).tolist()
        turn += 1
