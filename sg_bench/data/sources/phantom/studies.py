"""Computation of a study from a patient's identity: anatomy, lesions, scanner noise, nuisance, in this order.

Only labelled images have a nuisance: an unlabelled corpus comes from one scanner.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from sg_bench.config import Shape
from sg_bench.data.sources.base import Candidate, Study, film_affine
from sg_bench.data.sources.phantom import film, mri
from sg_bench.data.sources.phantom.acquisition import acquire, draw_acquisition
from sg_bench.data.sources.phantom.anatomy import make_chest
from sg_bench.data.sources.phantom.brain import make_brain
from sg_bench.data.sources.phantom.disease import Disease, draw_disease
from sg_bench.data.sources.phantom.findings import draw_findings
from sg_bench.data.sources.phantom.geometry import BRAIN_FIELD, FloatVolume, VoxelGrid
from sg_bench.data.sources.phantom.lesions import add_nodules, hard_negatives
from sg_bench.data.sources.phantom.noise import scanner_noise
from sg_bench.data.sources.phantom.nuisance import apply_nuisance, draw_nuisance
from sg_bench.data.sources.phantom.patient import draw_patient
from sg_bench.data.sources.phantom.streams import PatientIdentity, RandomStream
from sg_bench.data.sources.phantom.tumours import draw_spots, draw_tumour

Nuisance = Literal["clean", "scanner", "acquisition"]
"""How labelled images differ in their making: not at all, in their grey values, or in resolution, bias field and field
of view."""
HU_RANGE = (-1024, 3071)
"""Range of a 12-bit CT image."""


def make_ct(identity: PatientIdentity, shape: Shape, *, nuisance: Nuisance) -> Study:
    """Return one patient's CT in HU; if labelled, with nodules, `Organ` labels and candidates."""
    grid = VoxelGrid(shape)
    chest = make_chest(identity, draw_patient(identity.generator(RandomStream.BUILD)), grid)
    if not identity.labelled:
        return Study(_with_noise(identity, grid, chest.image), grid.affine)
    candidates: list[Candidate] = add_nodules(identity.generator(RandomStream.NODULES), chest)
    candidates += hard_negatives(identity.generator(RandomStream.NEGATIVES), chest)
    image = _with_noise(identity, grid, chest.image)
    if nuisance == "scanner":
        image = apply_nuisance(image, draw_nuisance(identity.generator(RandomStream.NUISANCE), shape))
    study = Study(image, grid.affine, chest.label, candidates)
    if nuisance == "acquisition":
        return acquire(study, draw_acquisition(identity.generator(RandomStream.ACQUISITION), shape))
    return study


def make_mri(identity: PatientIdentity, sequence: mri.MriSequence, shape: Shape, *, nuisance: Nuisance) -> Study:
    """Return one sequence of a patient's brain in scanner units; if labelled, with a tumour of `Lesion` classes."""
    grid = VoxelGrid(shape, BRAIN_FIELD)
    rng = identity.generator(RandomStream.SEQUENCE, mri.SEQUENCES.index(sequence))
    contrast = mri.draw_contrast(rng, sequence)
    brain = make_brain(identity, contrast.tissues, grid)
    tumour = draw_tumour(identity.generator(RandomStream.TUMOUR), brain) if identity.labelled else None
    label = tumour.label() if tumour else np.zeros(shape, np.uint8)
    spots = draw_spots(identity.generator(RandomStream.SPOTS), brain, label > 0)
    mri.add_lesions(brain, contrast, spots, tumour)
    image = mri.scan(rng, brain)
    if not identity.labelled:
        return Study(image, grid.affine)
    high, scan = float(image.max()), mri.SEQUENCES.index(sequence)
    if nuisance == "scanner":
        drawn = draw_nuisance(identity.generator(RandomStream.SEQUENCE_NUISANCE, scan), shape)
        image = apply_nuisance(image, drawn, low=0, high=high) * (image > 0)
    study = Study(image, grid.affine, label)
    if nuisance == "acquisition":
        acquisition = draw_acquisition(identity.generator(RandomStream.SEQUENCE_ACQUISITION, scan), shape)
        inside = acquisition.sample_label((image > 0).astype(np.uint8))
        acquired = acquire(study, acquisition, low=0, high=high)
        return replace(acquired, image=acquired.image * (inside > 0))
    return study


def make_film(identity: PatientIdentity, shape: Shape, *, nuisance: Nuisance) -> Study:
    """Return the film of the chest in `make_ct`, in [0, 255]; if labelled, with findings and segmented pneumothorax.

    The findings of a film are independent of the nodules in the labelled CT.
    """
    rows = shape[1]
    disease = Disease()
    if identity.labelled:
        disease = draw_disease(identity.generator(RandomStream.DISEASE), draw_findings(identity))
    chest = make_chest(identity, draw_patient(identity.generator(RandomStream.BUILD)), film.film_grid(shape), disease)
    image = film.expose(chest, rows, film.draw_exposure(identity.generator(RandomStream.EXPOSURE), shape))
    if not identity.labelled:
        return Study(image, film_affine())
    if nuisance == "scanner":
        drawn = draw_nuisance(identity.generator(RandomStream.FILM_NUISANCE), shape)
        image = apply_nuisance(image, drawn, low=0, high=255)
    study = Study(image, film_affine(), film.outline_air(chest, rows))
    if nuisance == "acquisition":
        drawn_anew = draw_acquisition(identity.generator(RandomStream.FILM_ACQUISITION), shape)
        return replace(acquire(study, drawn_anew, low=0, high=255), affine=film_affine())
    return study


def _with_noise(identity: PatientIdentity, grid: VoxelGrid, hu: FloatVolume) -> FloatVolume:
    """Return the image with scanner noise."""
    noise = scanner_noise(identity.generator(RandomStream.NOISE), grid)
    image: FloatVolume = np.clip(hu + noise, *HU_RANGE)
    return image
