"""Where each random number of the phantom comes from: the patient and the purpose, never a shared state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class RandomStream(IntEnum):
    """What random numbers are for: each has a stream of its own, so that one cannot shift another."""

    BUILD = 0
    TREES = 1
    POSE = 2
    TEXTURE = 3
    NODULES = 4
    NEGATIVES = 5
    NOISE = 6
    NUISANCE = 7
    FINDINGS = 8
    DISEASE = 9
    OUTLINES = 10
    EXPOSURE = 11
    FILM_NUISANCE = 12
    BRAIN_BUILD = 13
    BRAIN_FOLDS = 14
    BRAIN_POSE = 15
    TUMOUR = 16
    SPOTS = 17
    SEQUENCE = 18
    SEQUENCE_NUISANCE = 19


@dataclass(frozen=True)
class PatientIdentity:
    """Which patient. The chests have one film each; the brains are other people's."""

    version: int
    held_out: bool
    labelled: bool
    index: int

    def generator(self, stream: RandomStream, *scan: int) -> np.random.Generator:
        """Return a fresh generator that depends on this patient, `stream` and `scan` (which of several) only."""
        patient = [self.version, int(self.held_out), int(self.labelled), self.index]
        return np.random.default_rng([*patient, int(stream), *scan])
