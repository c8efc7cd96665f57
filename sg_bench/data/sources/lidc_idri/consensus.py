"""Conversion of the readers' outlines to masks, grouping of annotations by nodule, and consensus masks.

Source: sg-bench data protocol, A.2. Since nodules are small in large scans, a mask is the (n, 3) array of its unique
voxels (column, row, slice), sorted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.dicom import DicomSeries, GapPolicy
from sg_bench.data.sources.lidc_idri.annotations import Annotation, Outline, OutlinePixels
from sg_bench.errors import DataError

VoxelIndices = NDArray[np.int64]

MOST_MEMBERS = 4
"""A cluster with more annotations than this is split into several nodules, if possible."""
SHRINKING = 0.9
"""Factor on the distance tolerance while a cluster has too many members."""
LEAST_DISTANCE = 0.1
"""mm; clusters are not split at smaller tolerances."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class PlacedAnnotation:
    """One annotation as voxels of its series."""

    annotation: Annotation
    mask: VoxelIndices
    """Voxels of the nodule; empty if the outlines enclose nothing."""
    outlined: VoxelIndices
    """The same including outlines and excluded regions; empty only if no slice has an outline."""


@dataclass(frozen=True)
class ConsensusNodule:
    """The annotations of one nodule, in the order of the XML, and their consensus."""

    readers: tuple[int, ...]
    """Reader of each annotation; one reader may occur twice, with two annotations too close to separate."""
    volumes: tuple[float, ...]
    """Volume of each annotation's mask, in mm3."""
    malignancies: tuple[int, ...]
    """Malignancy rating of each annotation, 1..5."""
    mask: VoxelIndices
    """Voxels that enough of the readers include; may be empty."""
    volume: float
    """Volume of `mask`, in mm3."""


def border(points: OutlinePixels) -> OutlinePixels:
    """Return the unique pixels of a closed outline, including those between distant points, sorted."""
    way = np.roll(points, -1, axis=0) - points
    steps = np.abs(way).max(axis=1)
    shares = np.minimum(np.arange(steps.max() + 1) / np.maximum(steps, 1)[:, np.newaxis], 1)
    pixels = points[:, np.newaxis] + shares[..., np.newaxis] * way[:, np.newaxis]
    return np.asarray(np.unique(np.rint(pixels).astype(np.int64).reshape(-1, 2), axis=0))


def interior(points: OutlinePixels) -> OutlinePixels:
    """Return the pixels inside a closed outline, without those of the outline itself, sorted.

    A pixel is inside if the winding number of the outline is not 0: also if it is 2, but not in the gap between the
    touching ends of a crescent.
    """
    low = points.min(axis=0)
    columns, rows = points.max(axis=0) - low + 1
    winding = np.zeros((columns, rows), dtype=np.int64)
    shifted = (points - low).tolist()
    for (x, y), (next_x, next_y) in zip(shifted, shifted[1:] + shifted[:1], strict=True):
        for row in range(min(y, next_y), max(y, next_y)):
            crossing = x + (row - y) * (next_x - x) / (next_y - y)
            winding[: math.ceil(crossing), row] += 1 if next_y > y else -1
    inside = winding != 0
    inside[tuple((border(points) - low).T)] = False
    return np.asarray(np.argwhere(inside) + low)


def place_annotation(annotation: Annotation, series: DicomSeries, *, gaps: GapPolicy = "refuse") -> PlacedAnnotation:
    """Convert an annotation to voxels of its series.

    On each slice, the nodule is what any included outline encloses, minus what an excluded one encloses or touches.

    Raises:
        DataError: an outline is outside the image, or on a missing slice (with `gaps` "allow", such outlines are left
            out).
    """
    slices: dict[int, list[Outline]] = {}
    for outline in annotation.outlines:
        index = series.index(outline.image, outline.z)
        if index is not None:
            _check_inside(outline, annotation, series)
            slices.setdefault(index, []).append(outline)
        elif gaps == "refuse":
            raise DataError(
                f"{annotation.name} of reader {annotation.reader + 1}: no slice at z {outline.z:g} mm, where it has "
                "an outline",
                hint="Download the missing slices, or set `gaps` to allow, which leaves such outlines out",
            )
    masks, outlined = [], []
    for index, outlines in sorted(slices.items()):
        included = [outline.points for outline in outlines if outline.included]
        excluded = [outline.points for outline in outlines if not outline.included]
        inside = _union(interior(points) for points in included)
        cut = _union(_filled(points) for points in excluded)
        masks.append(_on_slice(_without(inside, cut), index))
        outlined.append(_on_slice(_union(_filled(points) for points in included), index))
    return PlacedAnnotation(annotation, _union(masks, 3), _union(outlined, 3))


def nodules(placed: list[PlacedAnnotation], series: DicomSeries, *, agreement: float = 0.5) -> list[ConsensusNodule]:
    """Return the nodules of a series in the order of their first annotations.

    Args:
        placed: all annotations that are on slices of the series.
        series: their grid.
        agreement: least fraction of the readers who annotated the nodule that must include a voxel.
    """
    voxel = float(np.prod(series.spacing))
    found = []
    for members in clusters([annotation.outlined for annotation in placed], series.spacing, series.thickness):
        group = [placed[member] for member in members]
        mask = agreed(group, agreement)
        found.append(
            ConsensusNodule(
                readers=tuple(annotation.annotation.reader for annotation in group),
                volumes=tuple(len(annotation.mask) * voxel for annotation in group),
                malignancies=tuple(annotation.annotation.malignancy for annotation in group),
                mask=mask,
                volume=len(mask) * voxel,
            )
        )
    return found


def clusters(masks: list[VoxelIndices], spacing: NDArray[np.float64], thickness: float) -> list[list[int]]:
    """Group masks of one nodule: those linked by smallest voxel distances within a tolerance.

    The tolerance is the slice thickness; while a group has more than `MOST_MEMBERS`, it is reduced for all.

    Args:
        masks: not empty.
        spacing: (3,) mm between neighbouring voxels.
        thickness: mm.

    Returns:
        Groups of ascending indices into `masks`, in the order of their first members.
    """
    distances = _distances(masks, spacing)
    tolerance = thickness
    groups = _linked(distances, tolerance)
    while max(map(len, groups), default=0) > MOST_MEMBERS and tolerance * SHRINKING >= LEAST_DISTANCE:
        tolerance *= SHRINKING
        groups = _linked(distances, tolerance)
    return groups


def agreed(group: list[PlacedAnnotation], agreement: float) -> VoxelIndices:
    """Return the voxels that at least a fraction `agreement` of the group's readers include.

    Several annotations of one reader count as their union.
    """
    readers = {annotation.annotation.reader for annotation in group}
    own = [
        _union((annotation.mask for annotation in group if annotation.annotation.reader == reader), 3)
        for reader in readers
    ]
    voxels, counts = np.unique(np.concatenate(own), axis=0, return_counts=True)
    return np.asarray(voxels[counts >= agreement * len(readers) - _ROUNDING])


def _distances(masks: list[VoxelIndices], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n, n) smallest voxel distances between masks, in mm."""
    from scipy.spatial import KDTree

    places = [mask * spacing for mask in masks]
    trees = [KDTree(place) for place in places]
    distances = np.zeros((len(masks), len(masks)))
    for one, other in combinations(range(len(masks)), 2):
        distances[one, other] = distances[other, one] = trees[one].query(places[other])[0].min()
    return distances


def _linked(distances: NDArray[np.float64], tolerance: float) -> list[list[int]]:
    from scipy.sparse.csgraph import connected_components

    if not len(distances):
        return []
    count, owners = connected_components(distances <= tolerance + _ROUNDING, directed=False)
    return [np.flatnonzero(owners == group).tolist() for group in range(count)]


def _check_inside(outline: Outline, annotation: Annotation, series: DicomSeries) -> None:
    columns, rows, _ = series.shape
    outside = [point for point in outline.points.tolist() if not (0 <= point[0] < columns and 0 <= point[1] < rows)]
    if outside:
        raise DataError(
            f"{annotation.name} of reader {annotation.reader + 1}: its outline at z {outline.z:g} mm has the point "
            f"(column, row) {tuple(outside[0])}, the slice has {columns} columns and {rows} rows",
            hint="Check that the XML is of this series, then download both again",
        )


def _filled(points: OutlinePixels) -> OutlinePixels:
    return _union((interior(points), border(points)))


def _union(parts: Iterable[NDArray[np.int64]], width: int = 2) -> NDArray[np.int64]:
    return np.unique(np.concatenate([np.empty((0, width), dtype=np.int64), *parts]), axis=0)


def _without(pixels: OutlinePixels, cut: OutlinePixels) -> OutlinePixels:
    """Return the rows of `pixels` that are not rows of `cut`."""
    gone = set(map(tuple, cut.tolist()))
    return pixels[[tuple(pixel) not in gone for pixel in pixels.tolist()]] if gone else pixels


def _on_slice(pixels: OutlinePixels, index: int) -> VoxelIndices:
    return np.column_stack([pixels, np.full(len(pixels), index)])
