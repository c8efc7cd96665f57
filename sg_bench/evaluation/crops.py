"""The crops of a task: round a candidate, or anywhere in an image, with what is true there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sampling import Start, centred_start, cut
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.tasks import Task

MOST_VOXELS = 10_000
"""Foreground voxels remembered of one image, evenly spaced among all."""
TRIES = 20


@dataclass(frozen=True)
class Crop:
    """One crop of one image."""

    id: str
    """Case id and number, as "patient-3#0"."""
    case: str
    centre: tuple[float, float, float]
    """Voxel coordinates."""
    positive: bool = True


def candidate_crops(store: Store, ids: Sequence[str], *, positive: bool | None = None) -> list[Crop]:
    """Return a crop for every candidate of the cases; only positive or negative ones if asked.

    Raises:
        DataError: there is none.
    """
    crops = [
        Crop(f"{id_}#{number}", id_, candidate.position, candidate.positive)
        for id_ in ids
        for number, candidate in enumerate(store[id_].candidates)
        if positive is None or candidate.positive == positive
    ]
    if ids and not crops:
        raise DataError(
            f"{len(ids)} cases hold no candidate", hint="The task's sampling needs a source with candidates"
        )
    return crops


def foreground_voxels(store: Store, task: Task, id_: str) -> NDArray[np.int64]:
    """Return flat indices of the target's voxels in a case, at most MOST_VOXELS, evenly spaced."""
    flat = np.flatnonzero(np.isin(store.label(id_), task.target))
    return flat[:: max(1, -(-len(flat) // MOST_VOXELS))]


def foreground_crop(
    store: Store, task: Task, id_: str, voxels: NDArray[np.int64], rng: np.random.Generator, number: int = 0
) -> Crop:
    """Return a crop at a random place, drawn again while its share of target is not what the card wants."""
    sampling, shape = task.sampling, store[id_].shape
    least, most = sampling.target_fraction
    crop = Crop(f"{id_}#{number}", id_, (0.0, 0.0, 0.0))
    for _ in range(TRIES):
        centre = _centre(sampling.patch, shape, voxels if rng.random() < sampling.centred else voxels[:0], rng)
        crop = Crop(f"{id_}#{number}", id_, centre)
        if (least, most) == (0.0, 1.0):
            break
        truth = np.isin(cut(store.label(id_), centred_start(centre, sampling.patch), sampling.patch), task.target)
        if least <= truth.mean() <= most:
            break
    return crop


def fixed_crops(task: Task, store: Store, ids: list[str]) -> list[Crop]:
    """Return the test crops: all candidates, or for a foreground task a fixed set that no seed changes."""
    if task.sampling.places == "candidates":
        return candidate_crops(store, ids, positive=None if task.kind == "classification" else True)
    crops = []
    for id_ in ids:
        voxels = foreground_voxels(store, task, id_)
        rng = np.random.default_rng([task.split.seed, store.ids.index(id_)])
        crops += [
            foreground_crop(store, task, id_, voxels, rng, number) for number in range(task.inference.crops_per_case)
        ]
    return crops


def cut_crop(
    store: Store, task: Task, crop: Crop, shift: Sequence[int] | NDArray[Any] = (0, 0, 0)
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the crop's image (x, y, z) and its truth: a map like it (segmentation), or a single 0 or 1."""
    patch = task.sampling.patch
    start: Start = centred_start([c + int(s) for c, s in zip(crop.centre, shift, strict=True)], patch)
    image = cut(store.image(crop.case), start, patch)
    if task.kind == "classification":
        return image, np.array(crop.positive)
    return image, np.isin(cut(store.label(crop.case), start, patch), task.target)


def _centre(
    patch: Sequence[int], shape: Sequence[int], voxels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return a random voxel of `voxels`, or if there is none a random centre whose patch lies in the image."""
    if len(voxels):
        x, y, z = np.unravel_index(int(voxels[rng.integers(len(voxels))]), tuple(shape))
    else:
        low = [min(side, whole) // 2 for side, whole in zip(patch, shape, strict=True)]
        high = [max(whole - side + side // 2, least) for side, whole, least in zip(patch, shape, low, strict=True)]
        x, y, z = rng.integers(low, high, endpoint=True)
    return float(x), float(y), float(z)
