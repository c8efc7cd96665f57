"""Acquisition nuisance: changes of resolution, sensitivity and field of view, as between protocols.

Unlike `ScannerNuisance` it has no counterpart among the corruptions that methods learn to undo: grey values are not
mapped by a curve, but blurred, weighted by place and sampled on another grid. Drawing and application are separate, so
that an acquisition can be recorded and replayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.data.sources.base import Candidate, Study
from sg_bench.data.sources.phantom.geometry import FloatVolume, LabelVolume, Vector, VoxelGrid


@dataclass(frozen=True)
class Acquisition:
    """How an image of the nominal field of view is acquired anew, with the same number of voxels."""

    field: Vector
    """Field of view along x, y, z as a factor of the nominal one."""
    centre: Vector
    """Its centre in voxels of the nominal grid, from the nominal centre."""
    thickness: float
    """Of a slice, in voxels along z; 1: slices touch, more: they overlap."""
    blur: float
    """SD of the point spread function in the plane, in voxels."""
    sensitivity: FloatVolume
    """Factor of each voxel's intensity: the bias field of MRI, the heel effect of films, cupping of CT."""

    def affine(self, nominal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the affine of the acquired grid, given that of the nominal grid."""
        return nominal @ self._to_nominal

    @property
    def _to_nominal(self) -> NDArray[np.float64]:
        """Return the 4x4 map from acquired to nominal voxel indices."""
        middle = (np.array(self.sensitivity.shape) - 1) / 2
        to_nominal = np.diag((*self.field, 1.0))
        to_nominal[:3, 3] = middle + np.array(self.centre) - middle * np.array(self.field)
        return to_nominal

    def sample(self, image: FloatVolume, outside: float) -> FloatVolume:
        """Return the image on the acquired grid, by linear interpolation; `outside` is the value out of its field."""
        sampled: FloatVolume = self._resampled(image, 1, outside)
        return sampled

    def sample_label(self, label: LabelVolume) -> LabelVolume:
        """Return a label map on the acquired grid, by nearest neighbours; 0 out of its field."""
        sampled: LabelVolume = self._resampled(label, 0, 0)
        return sampled

    def _resampled(self, values: FloatVolume | LabelVolume, order: int, outside: float) -> Any:
        from scipy import ndimage

        return ndimage.affine_transform(values, self._to_nominal, order=order, mode="constant", cval=outside)


def draw_acquisition(rng: np.random.Generator, shape: Shape) -> Acquisition:
    """Draw an acquisition for an image of `shape`; a film, of one slice, keeps its third axis.

    The field of view is U(.85, 1.15) in the plane and U(.9, 1.1) along z, its centre within 4 % of it; slices are U(1,
    2.5) voxels thick; the blur is U(0, .8) voxels; the logarithm of the sensitivity is a random polynomial of degree 2
    whose greatest deviation from its mean is U(.1, .35).
    """
    plane, along = rng.uniform(0.85, 1.15), rng.uniform(0.9, 1.1)
    offsets = rng.uniform(-0.04, 0.04, 3) * np.array(shape)
    thickness, blur = rng.uniform(1, 2.5), rng.uniform(0, 0.8)
    sensitivity = _draw_sensitivity(rng, shape)
    if shape[2] == 1:
        along, offsets[2], thickness = 1.0, 0.0, 1.0
    x, y, z = offsets.tolist()
    return Acquisition((plane, plane, along), (x, y, z), thickness, blur, sensitivity)


def apply_acquisition(
    image: FloatVolume, acquisition: Acquisition, *, low: float = -1000, high: float = 1000
) -> FloatVolume:
    """Return the image as acquired, within [`low`, `high`] (default: HU); `low` is the value of empty space.

    Args:
        image: intensities on the nominal grid, clipped to [`low`, `high`].
        acquisition: drawn for this image's shape.
        low: lower end of the intensity range, which sensitivity does not change.
        high: upper end of the intensity range.
    """
    from scipy import ndimage

    intensity = acquisition.sample(np.clip(image - low, 0, high - low), 0)
    intensity = ndimage.gaussian_filter(intensity, (acquisition.blur, acquisition.blur, 0))
    intensity = ndimage.correlate1d(intensity, _slice_profile(acquisition.thickness), axis=2, mode="nearest")
    return np.asarray(low + np.clip(acquisition.sensitivity * intensity, 0, high - low), dtype=np.float32)


def acquire(study: Study, acquisition: Acquisition, *, low: float = -1000, high: float = 1000) -> Study:
    """Return a study as acquired: image, label map, affine, and the candidates within the field of view.

    Candidates are in mm, so they stay where they are.
    """
    affine = acquisition.affine(study.affine)
    inside = [candidate for candidate in study.candidates if _within(candidate, affine, study.image.shape)]
    label = None if study.label is None else acquisition.sample_label(study.label)
    image = apply_acquisition(study.image, acquisition, low=low, high=high)
    return replace(study, image=image, affine=affine, label=label, candidates=inside)


def _within(candidate: Candidate, affine: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    voxel = np.linalg.solve(affine, (*candidate.position, 1.0))[:3]
    return bool(((voxel >= 0) & (voxel <= np.array(shape) - 1)).all())


def _draw_sensitivity(rng: np.random.Generator, shape: Shape) -> FloatVolume:
    """Return the exponential of a random quadratic polynomial of the canonical coordinates, (x, y, z)."""
    x, y, z = VoxelGrid(shape).axes
    terms = (x, y, z, x * x, y * y, z * z, x * y, y * z, x * z)
    weights = rng.standard_normal(len(terms))
    field = sum((weight * term for weight, term in zip(weights, terms, strict=True)), np.zeros(shape))
    field -= field.mean()
    field *= rng.uniform(0.1, 0.35) / np.abs(field).max()
    sensitivity: FloatVolume = np.exp(field).astype(np.float32)
    return sensitivity


def _slice_profile(thickness: float) -> NDArray[np.float64]:
    """Return the weights of the voxels along z that a slice of `thickness` voxels averages."""
    reach = int(np.ceil((thickness - 1) / 2))
    covered = np.clip(thickness / 2 + 0.5 - np.abs(np.arange(-reach, reach + 1)), 0, 1)
    weights: NDArray[np.float64] = covered / covered.sum()
    return weights
