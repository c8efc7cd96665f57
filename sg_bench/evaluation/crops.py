"""The crops of a task, and their truths: around candidates, anywhere in an image, or an image's middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.cubes import resized
from sg_bench.data.identity import stable_hash
from sg_bench.data.sampling import CropStart, centred_start, cut
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.tasks import Sampling, Task

MAX_FOREGROUND_VOXELS = 10_000
"""Most foreground voxels of an image that centres are drawn from, evenly spaced among all."""
MAX_DRAWS = 20
"""Most draws of a crop whose share of target is as the card asks for."""


@dataclass(frozen=True)
class Crop:
    """One crop of one image."""

    id: str
    """Case id and the crop's number, such as "patient-3#0"; for whole images the case id."""
    case: str
    centre: tuple[float, float, float]
    """Voxel coordinates."""
    positive: bool = True
    target: tuple[int, ...] = ()
    """Values of the label map that are foreground in this crop; (): those of the task."""


def candidate_crops(store: Store, ids: Sequence[str], *, positive: bool | None = None) -> list[Crop]:
    """Return one crop per candidate of the cases, or only those of positive or of negative candidates.

    Raises:
        DataError: there are none.
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


def candidate_or_image_crops(task: Task, store: Store, ids: Sequence[str]) -> list[Crop]:
    """Return the crops of all candidates (segmentation: all positive ones), or those in the middle of all images.

    A foreground task has none: its crops are random.
    """
    if task.sampling.places == "candidates":
        return candidate_crops(store, ids, positive=None if task.kind == "classification" else True)
    if task.sampling.places == "image":
        shapes = {id_: store[id_].shape for id_ in ids}
        return [Crop(id_, id_, (x // 2, y // 2, z // 2)) for id_, (x, y, z) in shapes.items()]
    return []


def foreground_voxels(store: Store, task: Task, id_: str) -> NDArray[np.int64]:
    """Return flat indices of a case's target voxels, evenly spaced if there are more than MAX_FOREGROUND_VOXELS."""
    flat = np.flatnonzero(np.isin(store.label(id_), task.target))
    return flat[:: max(1, -(-len(flat) // MAX_FOREGROUND_VOXELS))]


def foreground_crop(
    store: Store, task: Task, id_: str, voxels: NDArray[np.int64], rng: np.random.Generator, number: int = 0
) -> Crop:
    """Return a crop at a random place, drawn again while its share of target is outside of the card's range.

    `voxels` are the case's `foreground_voxels`; `number` is the crop's, for its id.
    """
    sampling, shape = task.sampling, store[id_].shape
    least, most = sampling.target_fraction
    crop = Crop(f"{id_}#{number}", id_, (0.0, 0.0, 0.0))
    for _ in range(MAX_DRAWS):
        centre = _centre(sampling, shape, voxels if rng.random() < sampling.centred else voxels[:0], rng)
        crop = Crop(f"{id_}#{number}", id_, centre)
        if (least, most) == (0.0, 1.0):
            break
        truth = np.isin(cut(store.label(id_), centred_start(centre, sampling.cut), sampling.cut), task.target)
        if least <= truth.mean() <= most:
            break
    return crop


def fixed_crops(task: Task, store: Store, ids: list[str]) -> list[Crop]:
    """Return the test crops: those of all candidates, of all images, or random ones in an image.

    Random ones depend on the split's seed and the case's id, not on the fine-tuning seed or on other cases.
    """
    if task.sampling.places != "foreground":
        return candidate_or_image_crops(task, store, ids)
    crops = []
    for id_ in ids:
        voxels = foreground_voxels(store, task, id_)
        rng = np.random.default_rng([task.split.seed, stable_hash(id_)])
        crops += [
            foreground_crop(store, task, id_, voxels, rng, number) for number in range(task.inference.crops_per_case)
        ]
    return crops


def cut_crop(
    store: Store, task: Task, crop: Crop, shift: Sequence[int] | NDArray[Any] = (0, 0, 0)
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a crop's image of `sampling.patch` voxels, and its truth: a mask of that shape, or (outputs,) bool."""
    sampling = task.sampling
    start: CropStart = centred_start([c + int(s) for c, s in zip(crop.centre, shift, strict=True)], sampling.cut)
    image = cut(store.image(crop.case), start, sampling.cut)
    if sampling.window:
        image = resized(image, sampling.patch)
    if task.kind == "classification":
        return image, truth_of(store, task, crop)
    truth = np.isin(cut(store.label(crop.case), start, sampling.cut), crop.target or task.target)
    return image, resized_nearest(truth, sampling.patch)


def truth_of(store: Store, task: Task, crop: Crop) -> NDArray[np.bool_]:
    """Return the classes of a crop, bool: (1,) of its candidate, or (outputs,) of the task's findings in its image.

    Raises:
        DataError: the source does not label one of the task's findings.
    """
    if not task.findings:
        return np.array([crop.positive])
    known = list(store.recipe["findings"])
    absent = [name for name in task.findings if name not in known]
    found = store[crop.case].findings
    if absent or len(found) != len(known):
        raise DataError(
            f"case '{crop.case}' has no label '{(absent or task.findings)[0]}': its source labels {known or 'nothing'}",
            hint="Correct the card's `findings`, or add the data set's labels",
        )
    return np.array([found[known.index(name)] for name in task.findings], bool)


def resized_nearest(label: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Return a label map on another grid over the same field of view, by nearest-neighbour interpolation."""
    if label.shape == tuple(shape):
        return label
    places = [((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, label.shape, strict=True)]
    return label[np.ix_(*places)]


def _centre(
    sampling: Sampling, shape: Sequence[int], voxels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return one of `voxels` at random, or if there are none, a random centre whose crop keeps clear of the border."""
    low, high = [], []
    for side, length, border in zip(sampling.cut, shape, sampling.border, strict=True):
        margin = min(border, max(0, length - side) // 2)
        low.append(min(side, length) // 2 + margin)
        high.append(max(length - side + side // 2 - margin, low[-1]))
    if len(voxels):
        place = np.unravel_index(int(voxels[rng.integers(len(voxels))]), tuple(shape))
        x, y, z = np.clip(place, low, high) if any(sampling.border) else place
    else:
        x, y, z = rng.integers(low, high, endpoint=True)
    return float(x), float(y), float(z)
