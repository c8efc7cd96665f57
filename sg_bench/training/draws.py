"""The samples of each batch, and the random generator of each sample, as a function of (seed, stage, epoch, position).

Nothing here has a state. Batches are the same at any world size, and a resumed training draws the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from sg_bench.errors import DataError


class Purpose(IntEnum):
    """What random numbers are for; each purpose has its own stream under one seed."""

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
    """One sample of a batch."""

    index: int
    """Index into the training or validation samples."""
    key: tuple[int, ...]
    """Seed, purpose and place: what everything random about the sample is a function of."""

    @cached_property
    def rng(self) -> np.random.Generator:
        """Generator of the sample's random numbers."""
        return np.random.default_rng(self.key)


def generator(seed: int, purpose: Purpose, *where: int) -> np.random.Generator:
    """Return the random generator of a purpose at one place, such as (stage, epoch, position)."""
    return np.random.default_rng([seed, int(purpose), *where])


def epoch_batches(
    seed: int, stage: int, epoch: int, *, samples: int, batch_size: int, steps: int
) -> Iterator[list[Draw]]:
    """Yield `steps` global batches from repeated passes over `samples`, each in another random order.

    Raises:
        DataError: there are no samples.
    """
    order = _shuffled_indices(seed, Purpose.ORDER, (stage, epoch), samples)
    for step in range(steps):
        positions = range(step * batch_size, (step + 1) * batch_size)
        yield [Draw(next(order), (seed, Purpose.TRAIN, stage, epoch, position)) for position in positions]


def calibration_batches(seed: int, *, samples: int, batch_size: int, at_most: int) -> Iterator[list[Draw]]:
    """Yield one pass over `samples` in full batches, `at_most` so many, the same ones every time.

    The order is random because neighbouring samples are often of one class. If all samples are fewer than a batch,
    they are repeated.
    """
    order = _shuffled_indices(seed, Purpose.CALIBRATION, (0,), samples)
    for step in range(min(at_most, max(1, samples // batch_size))):
        positions = range(step * batch_size, (step + 1) * batch_size)
        yield [Draw(next(order), (seed, Purpose.CALIBRATION, 1, position)) for position in positions]


def validation_batches(seed: int, *, samples: int, batch_size: int) -> Iterator[list[Draw]]:
    """Yield all samples once, in order, with the same generators every time."""
    for start in range(0, samples, batch_size):
        indices = range(start, min(start + batch_size, samples))
        yield [Draw(index, (seed, Purpose.VALIDATION, index)) for index in indices]


def _shuffled_indices(seed: int, purpose: Purpose, where: tuple[int, ...], samples: int) -> Iterator[int]:
    """Yield indices without end: pass after pass, each in another random order."""
    if not samples:
        raise DataError("there are no training samples", hint="Check the split, and the task's sampling")
    passes = 0
    while True:
        yield from generator(seed, purpose, *where, passes).permutation(samples).tolist()
        passes += 1
