"""Lung nodules, and vessels that resemble them as hard negatives.

Nodules are added to the posed volume; lengths are in mm and positions in world mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.base import Candidate
from sg_bench.data.sources.phantom.anatomy import INSIDE_LUNG
from sg_bench.data.sources.phantom.blobs import irregular_blob
from sg_bench.data.sources.phantom.geometry import BoolVolume, Canvas, PointArray
from sg_bench.data.sources.phantom.organs import Organ

RADII = (6.5, 18.0)
"""Smallest and largest radius of a nodule."""
NODULES = (2, 5)
"""Least and largest number of nodules."""
NEGATIVES = (4, 6)
"""Least and largest number of hard negatives."""
DEPTH = 10.0
"""Least distance of a nodule's centre from the lung's surface."""
GAP = 12.0
"""Least distance between the surfaces of two nodules, before irregularity."""
CLEARANCE = 40.0
"""Least distance of a hard negative from any nodule's surface."""
NEGATIVES_APART = 25.0
"""Least distance between two hard negatives."""


@dataclass(frozen=True)
class PhantomNodule:
    """Position, radius and attenuation of a nodule."""

    centre: NDArray[np.float64]
    """(3,), world mm."""
    radius: float
    hu: float


def add_nodules(rng: np.random.Generator, canvas: Canvas) -> list[Candidate]:
    """Add nodules to the lungs, in place, and return them as positive candidates."""
    lungs = lung_space(canvas)
    nodules = _place_nodules(rng, _nodule_sites(canvas, lungs))
    for nodule in nodules:
        coverage = irregular_blob(rng, canvas.grid, nodule.centre, nodule.radius) * lungs
        canvas.cover(coverage, np.maximum(canvas.image, np.float32(nodule.hu)), Organ.NODULE)
    return [_candidate(nodule.centre, positive=True, diameter=2 * nodule.radius) for nodule in nodules]


def hard_negatives(rng: np.random.Generator, canvas: Canvas) -> list[Candidate]:
    """Return negative candidates on thick vessels and their forks, far from every nodule."""
    sites = canvas.grid.to_mm(np.argwhere(_thick_vessels(canvas)))
    kept: list[NDArray[np.float64]] = []
    count = int(rng.integers(*NEGATIVES, endpoint=True))
    for site in rng.permutation(sites):
        if len(kept) < count and all(np.linalg.norm(site - other) >= NEGATIVES_APART for other in kept):
            kept.append(site)
    return [_candidate(site, positive=False) for site in kept]


def lung_space(canvas: Canvas) -> BoolVolume:
    """Return the lungs including airways, vessels and the gaps between them."""
    from scipy import ndimage

    closed: BoolVolume = ndimage.binary_closing(np.isin(canvas.label, INSIDE_LUNG))
    return closed


def _nodule_sites(canvas: Canvas, lungs: BoolVolume) -> PointArray:
    """Return the allowed centres of nodules: in aerated lung, away from the pleura."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(lungs, sampling=canvas.grid.spacing)
    return canvas.grid.to_mm(np.argwhere((depth > DEPTH) & (canvas.label == Organ.LUNG)))


def _place_nodules(rng: np.random.Generator, sites: PointArray) -> list[PhantomNodule]:
    """Draw nodules that do not touch each other, with log-uniform radii."""
    count = int(rng.integers(*NODULES, endpoint=True))
    smallest, largest = np.log(RADII)
    radii = np.exp(rng.uniform(smallest, largest, count))
    placed: list[PhantomNodule] = []
    for radius in radii:
        free = sites[_clear_of(placed, sites, radius)]
        if len(free):
            placed.append(PhantomNodule(free[rng.integers(len(free))], float(radius), rng.uniform(-150, 120)))
    return placed


def _clear_of(placed: list[PhantomNodule], sites: PointArray, radius: float) -> BoolVolume:
    clear = np.ones(len(sites), bool)
    for nodule in placed:
        clear &= np.linalg.norm(sites - nodule.centre, axis=1) > nodule.radius + radius + GAP
    return clear


def _thick_vessels(canvas: Canvas) -> BoolVolume:
    """Return the vessel voxels far from nodules with the most vessel in a neighbourhood of 3 voxels."""
    from scipy import ndimage

    vessel: BoolVolume = canvas.label == Organ.VESSEL
    far = ndimage.distance_transform_edt(canvas.label != Organ.NODULE, sampling=canvas.grid.spacing) >= CLEARANCE
    crowded = ndimage.uniform_filter(vessel.astype(np.float32), 3)
    eligible = vessel & far
    if not eligible.any():
        return np.zeros_like(vessel)
    thick: BoolVolume = eligible & (crowded >= np.quantile(crowded[eligible], 0.5))
    return thick


def _candidate(position: NDArray[np.float64], *, positive: bool, diameter: float | None = None) -> Candidate:
    x, y, z = (float(value) for value in position)
    return Candidate((x, y, z), positive, diameter)
