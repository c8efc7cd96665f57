"""Brain lesions: a tumour, which is labelled, and white-matter lesions, which only resemble it.

Lesions are added to the posed brain; lengths are in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.phantom.blobs import irregular_blob
from sg_bench.data.sources.phantom.brain import Tissue
from sg_bench.data.sources.phantom.geometry import BoolVolume, Canvas, FloatVolume, LabelVolume, PointArray

RADII = (16.0, 30.0)
"""Smallest and largest radius of a tumour, including oedema."""
DEPTH = 14.0
"""Least distance of a tumour's centre from the brain's surface."""
TUMOUR_PLACES = ((-50.0, -60.0, -10.0), (50.0, 60.0, 45.0))
"""Corners of the box of its centre: in a hemisphere, not in the hindbrain."""
SPOT_PLACES = ((-40.0, -60.0, -15.0), (40.0, 60.0, 40.0))
SPOTS = (2, 6)
SPOT_RADII = (3.5, 7.0)
CLEARANCE = 8.0
"""Least distance of a white-matter lesion from the tumour, in addition to its radius."""


class Lesion(IntEnum):
    """Label classes of BraTS; there is no 3."""

    NECROSIS = 1
    OEDEMA = 2
    ENHANCING = 4


@dataclass(frozen=True)
class Tumour:
    """Coverage of each voxel by the nested parts of a tumour: (x, y, z), in [0, 1]."""

    whole: FloatVolume
    core: FloatVolume
    necrosis: FloatVolume

    def label(self) -> LabelVolume:
        """Return the map of `Lesion` numbers, 0 elsewhere."""
        label = np.zeros(self.whole.shape, np.uint8)
        label[self.whole > 0.5] = Lesion.OEDEMA
        label[self.core > 0.5] = Lesion.ENHANCING
        label[self.necrosis > 0.5] = Lesion.NECROSIS
        return label


def draw_tumour(rng: np.random.Generator, brain: Canvas) -> Tumour:
    """Draw a tumour: necrosis in an enhancing ring in oedema; ventricles and clefts are spared."""
    inside, tissue = brain_space(brain), _parenchyma(brain)
    sites = brain.grid.to_mm(np.argwhere((_depth(brain, inside) > DEPTH) & tissue))
    centre, radius = _nearest(sites, rng.uniform(*TUMOUR_PLACES)), rng.uniform(*RADII)
    core_radius = radius * rng.uniform(0.45, 0.65)
    core_centre = centre + rng.normal(0, 0.1 * radius, 3)
    whole = _oedema(rng, brain, centre, radius) * tissue
    core = irregular_blob(rng, brain.grid, core_centre, core_radius) * inside
    necrosis = irregular_blob(rng, brain.grid, core_centre, core_radius * rng.uniform(0.5, 0.65))
    return Tumour(np.maximum(whole, core), core, np.minimum(necrosis, core))


def draw_spots(rng: np.random.Generator, brain: Canvas, taken: BoolVolume) -> FloatVolume:
    """Draw white-matter lesions away from `taken` and return their coverage, (x, y, z), in [0, 1]."""
    from scipy import ndimage

    white = brain.label == Tissue.WHITE
    clear = white & (_depth(brain, brain_space(brain)) > DEPTH)
    if taken.any():
        distance = ndimage.distance_transform_edt(~taken, sampling=brain.grid.spacing)
        clear &= distance > SPOT_RADII[1] + CLEARANCE
    sites = brain.grid.to_mm(np.argwhere(clear))
    covered = np.zeros(brain.grid.shape, np.float32)
    count = int(rng.integers(*SPOTS, endpoint=True))
    for place in rng.uniform(*SPOT_PLACES, size=(count, 3)):
        spot = irregular_blob(rng, brain.grid, _nearest(sites, place), rng.uniform(*SPOT_RADII))
        np.maximum(covered, spot * (brain.label > Tissue.FLUID), out=covered)
    return covered


def _nearest(sites: PointArray, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the site nearest to `place`, so that the position of a lesion hardly depends on the grid."""
    site: NDArray[np.float64] = sites[np.square(sites - place).sum(axis=1).argmin()]
    return site


def _oedema(rng: np.random.Generator, brain: Canvas, centre: NDArray[np.float64], radius: float) -> FloatVolume:
    """Draw the whole tumour: a body and an extension."""
    heading = rng.normal(0, 1, 3)
    reach = rng.uniform(0.5, 0.9) * radius / np.linalg.norm(heading)
    body, arm = (
        irregular_blob(rng, brain.grid, place, size)
        for place, size in ((centre, 0.9 * radius), (centre + reach * heading, 0.6 * radius))
    )
    return np.maximum(body, arm)


def brain_space(brain: Canvas) -> BoolVolume:
    """Return the mask of brain tissue and fluid."""
    kept: BoolVolume = brain.label != Tissue.OUTSIDE
    return kept


def _parenchyma(brain: Canvas) -> BoolVolume:
    """Return the tissue including narrow clefts, across which a tumour may grow."""
    from scipy import ndimage

    closed: BoolVolume = ndimage.binary_closing(brain.label > Tissue.FLUID) & brain_space(brain)
    return closed


def _depth(brain: Canvas, mask: BoolVolume) -> NDArray[np.float64]:
    from scipy import ndimage

    depth: NDArray[np.float64] = ndimage.distance_transform_edt(mask, sampling=brain.grid.spacing)
    return depth
