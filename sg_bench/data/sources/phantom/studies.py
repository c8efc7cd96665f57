"""From a patient's identity to a study: chest, lesions, noise, nuisance, in this order."""

from __future__ import annotations

import numpy as np

from sg_bench.data.sources.base import Candidate, Study
from sg_bench.data.sources.phantom.anatomy import make_chest
from sg_bench.data.sources.phantom.geometry import Grid, Volume
from sg_bench.data.sources.phantom.lesions import add_nodules, hard_negatives
from sg_bench.data.sources.phantom.noise import scanner_noise
from sg_bench.data.sources.phantom.nuisance import apply_nuisance, draw_nuisance
from sg_bench.data.sources.phantom.patient import draw_patient
from sg_bench.data.sources.phantom.streams import Identity, Stream
from sg_bench.recipes import Shape

HU_RANGE = (-1024, 3071)
"""What 12 bits of a CT scanner can say."""


def make_study(identity: Identity, shape: Shape, *, scanner_nuisance: bool) -> Study:
    """Return one patient's CT in HU; if labelled, with nodules, `Organ` labels and candidates.

    Only labelled images take the scanner nuisance: an unlabelled corpus comes from one scanner.
    """
    grid = Grid(shape)
    chest = make_chest(identity, draw_patient(identity.generator(Stream.BUILD)), grid)
    if not identity.labelled:
        return Study(_scanned(identity, grid, chest.hu), grid.affine)
    candidates: list[Candidate] = add_nodules(identity.generator(Stream.NODULES), chest)
    candidates += hard_negatives(identity.generator(Stream.NEGATIVES), chest)
    image = _scanned(identity, grid, chest.hu)
    if scanner_nuisance:
        image = apply_nuisance(image, draw_nuisance(identity.generator(Stream.NUISANCE), shape))
    return Study(image, grid.affine, chest.label, candidates)


def _scanned(identity: Identity, grid: Grid, hu: Volume) -> Volume:
    """Return the image with this scan's noise."""
    noise = scanner_noise(identity.generator(Stream.NOISE), grid)
    image: Volume = np.clip(hu + noise, *HU_RANGE)
    return image
