"""The crops of a task: round a candidate, anywhere in an image, or the image itself, with what is true there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.cubes import resized
from sg_bench.data.sampling import CropStart, centred_start, cut
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.tasks import Sampling, Task

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
    target: tuple[int, ...] = ()
    """Values of the label map that are this crop's own finding; (): the task's."""


def candidate_crops(store: Store, ids: Sequence[str], *, positive: bool | None = None) -> list[Crop]:
    """Return a crop for every candidate of the cases; only positive or negative ones if asked.

    Raises:
        DataError: there is none.
    """
    crops = [
        Crop(f"{id_}#{number}", id_, candidate.position, candidate.positive, candidate.target)
        for id_ in ids
        for number, candidate in enumerate(store[id_].candidates)
        if positive is None or candidate.positive == positive
    ]
    if ids and not crops:
        raise DataError(
            f"{len(ids)} cases hold no candidate", hint="The task's sampling needs a source with candidates"
        )
    return crops


def image_crops(store: Store, ids: Sequence[str]) -> list[Crop]:
    """Return each case's middle."""
    shapes = {id_: store[id_].shape for id_ in ids}
    return [Crop(id_, id_, (x // 2, y // 2, z // 2)) for id_, (x, y, z) in shapes.items()]


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
        centre = _centre(sampling, shape, voxels if rng.random() < sampling.centred else voxels[:0], rng)
        crop = Crop(f"{id_}#{number}", id_, centre)
        if (least, most) == (0.0, 1.0):
            break
        truth = np.isin(cut(store.label(id_), centred_start(centre, sampling.cut), sampling.cut), task.target)
        if least <= truth.mean() <= most:
            break
    return crop


def fixed_crops(task: Task, store: Store, ids: list[str]) -> list[Crop]:
    """Return the test crops: all candidates, all images, or for a foreground task a fixed set that no seed changes."""
    if task.sampling.places == "image":
        return image_crops(store, ids)
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
    """Return the crop's image, `sampling.patch` voxels, and its truth: a map like it, or 0 and 1 (`outputs`,)."""
    sampling = task.sampling
    start: CropStart = centred_start([c + int(s) for c, s in zip(crop.centre, shift, strict=True)], sampling.cut)
    image = cut(store.image(crop.case), start, sampling.cut)
    if sampling.window:
        image = resized(image, sampling.patch)
    if task.kind == "classification":
        return image, truth_of(store, task, crop)
    truth = np.isin(cut(store.label(crop.case), start, sampling.cut), crop.target or task.target)
    return image, nearest(truth, sampling.patch)


def truth_of(store: Store, task: Task, crop: Crop) -> NDArray[np.bool_]:
    """Return what a classification task asks of a crop: (1,) whether it is a finding, or (n,) its image's findings.

    Raises:
        DataError: the images do not tell one of the task's findings.
    """
    if not task.findings:
        return np.array([crop.positive])
    known = list(store.recipe["findings"])
    absent = [name for name in task.findings if name not in known]
    found = store[crop.case].findings
    if absent or len(found) != len(known):
        raise DataError(
            f"case '{crop.case}' does not tell '{(absent or task.findings)[0]}': its source tells {known or 'nothing'}",
            hint="Correct the card's `findings`, or add the data set's labels",
        )
    return np.array([found[known.index(name)] for name in task.findings], bool)


def nearest(label: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Return a label map on another grid over the same field of view, each voxel the nearest one's value."""
    if label.shape == tuple(shape):
        return label
    places = [((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, label.shape, strict=True)]
    return label[np.ix_(*places)]


def _centre(
    sampling: Sampling, shape: Sequence[int], voxels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return a random voxel of `voxels`, or if there is none a random centre whose crop lies inside the border."""
    low, high = [], []
    for side, whole, border in zip(sampling.cut, shape, sampling.border, strict=True):
        kept = min(border, max(0, whole - side) // 2)
        low.append(min(side, whole) // 2 + kept)
        high.append(max(whole - side + side // 2 - kept, low[-1]))
    if len(voxels):
        place = np.unravel_index(int(voxels[rng.integers(len(voxels))]), tuple(shape))
        x, y, z = np.clip(place, low, high) if any(sampling.border) else place
    else:
        x, y, z = rng.integers(low, high, endpoint=True)
    return float(x), float(y), float(z)
