"""Random streams of the phantom, determined by patient and purpose, without shared state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class RandomStream(IntEnum):
    """Purposes of random numbers; each has its own stream, so that draws for one do not shift those of another."""

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
    ACQUISITION = 20
    SEQUENCE_ACQUISITION = 21
    FILM_ACQUISITION = 22


@dataclass(frozen=True)
class PatientIdentity:
    """Identity of a patient. A chest has one CT and one film; the brains are of other patients."""

    version: int
    held_out: bool
    labelled: bool
    index: int

    def generator(self, stream: RandomStream, *scan: int) -> np.random.Generator:
        """Return a new generator that depends only on this patient, `stream` and `scan` (index of several scans)."""
        patient = [self.version, int(self.held_out), int(self.labelled), self.index]
        return np.random.default_rng([*patient, int(stream), *scan])
