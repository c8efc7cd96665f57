"""Where each random number of the phantom comes from: the patient and the purpose, never a shared state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are for: each has a stream of its own, so that one cannot shift another."""

    BUILD = 0
    TREES = 1
    POSE = 2
    TEXTURE = 3
    NODULES = 4
    NEGATIVES = 5
    NOISE = 6
    NUISANCE = 7


@dataclass(frozen=True)
class Identity:
    """Which patient."""

    version: int
    held_out: bool
    labelled: bool
    index: int

    def generator(self, stream: Stream) -> np.random.Generator:
        """Return a fresh generator that depends on this patient and `stream` only."""
        return np.random.default_rng([self.version, int(self.held_out), int(self.labelled), self.index, int(stream)])
