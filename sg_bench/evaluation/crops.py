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
from sg_bench.evaluation.columns import class_of, number_of, yes_or_no
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

    A case without a candidate takes no part.
    """
    return [
        Crop(f"{id_}#{number}", id_, candidate.position, candidate.positive, candidate.target)
        for id_ in ids
        for number, candidate in enumerate(store[id_].candidates)
        if positive is None or candidate.positive == positive
    ]


def check_candidates(task: Task, store: Store, ids: Sequence[str], part: str) -> None:
    """Check that the cases of a part have a crop where a task crops candidates.

    Raises:
        DataError: names the part and its first cases without a candidate.
    """
    if task.sampling.places == "candidates" and ids and not candidate_or_image_crops(task, store, ids):
        kind = "candidate" if task.kind == "classification" else "positive candidate"
        raise DataError(
            f"none of the {len(ids)} {part} cases holds a {kind}: {', '.join(sorted(ids)[:3])}"
            f"{', ...' if len(ids) > 3 else ''}",
            hint="Take more cases, change the split's seed, or choose a source or setting with candidates",
        )


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
    flat = np.flatnonzero(np.isin(store.label(id_), task.foreground))
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
        truth = np.isin(cut(store.label(id_), centred_start(centre, sampling.cut), sampling.cut), task.foreground)
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
    """Return a crop's image of `sampling.patch` voxels, with its channels if there are several, and its truth.

    The truth of a segmentation is that of `masks_of`, of others that of `truth_of`.
    """
    sampling = task.sampling
    start: CropStart = centred_start([c + int(s) for c, s in zip(crop.centre, shift, strict=True)], sampling.cut)
    image = cut(store.image(crop.case), start, sampling.cut)
    if sampling.window:
        image = resized(image, sampling.patch)
    if task.kind != "segmentation":
        return image, truth_of(store, task, crop)
    truth = masks_of(task, cut(store.label(crop.case), start, sampling.cut), crop.target)
    return image, resized_nearest(truth, sampling.patch)


def masks_of(task: Task, label: NDArray[Any], target: tuple[int, ...] = ()) -> NDArray[np.bool_]:
    """Return the mask of the task's target, of the shape of a label map, or one of each class or region, one by one.

    Args:
        task: a segmentation.
        label: (x, y, z), values of the source.
        target: values that are foreground instead of the task's; (): the task's.
    """
    if target or task.target:
        return np.isin(label, target or task.target)
    return np.stack([np.isin(label, values) for values in task.masks.values()])


def check_masks(task: Task, store: Store, ids: Sequence[str]) -> None:
    """Raise unless each mask of a segmentation has a voxel in some case; candidates have theirs by definition.

    Raises:
        DataError: names the label values that no case has, and those that the first case has.
    """
    if task.sampling.places == "candidates" or not ids:
        return
    absent = dict(task.masks)
    for id_ in ids:
        found = np.unique(store.label(id_))
        absent = {name: values for name, values in absent.items() if not np.isin(found, values).any()}
        if not absent:
            return
    name, values = next(iter(absent.items()))
    what = f"'{name}' (label values {', '.join(map(str, values))})" if name else f"the target {list(values)}"
    shown = ", ".join(map(str, np.unique(store.label(ids[0])).tolist()))
    raise DataError(
        f"none of {len(ids)} test cases holds {what}, so predicting nothing would score best; '{ids[0]}' holds {shown}",
        hint="Correct the card's label values, or change its split",
    )


def with_channels(images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Return images (x, y, z) or (channels, x, y, z) of one size as a batch (B, channels, x, y, z)."""
    batch = np.stack(list(images)).astype(np.float32)
    return batch[:, None] if batch.ndim == 4 else batch


def truth_of(store: Store, task: Task, crop: Crop) -> NDArray[Any]:
    """Return what a classification or a regression predicts of a crop.

    bool (1,) of its candidate; (outputs,) of the task's findings in its image, or of the class in its column, of which
    one is true where there are more than two; of a regression the value, float32 (1,).

    Raises:
        DataError: the source does not label one of the task's findings, or the case has no such value in its column.
    """
    if task.value_column:
        return np.array([number_of(store, task.value_column, crop.case)], np.float32)
    if task.label_column:
        return class_of(store, task, crop.case)
    if not task.findings:
        return np.array([crop.positive])
    known, case = list(store.recipe["findings"]), store[crop.case]
    absent = [name for name in task.findings if name not in known]
    if absent and case.attributes:
        return np.array([yes_or_no(store, name, crop.case) for name in task.findings])
    if absent or len(case.findings) != len(known):
        raise DataError(
            f"case '{crop.case}' has no label '{(absent or task.findings)[0]}': its source labels {known or 'nothing'}",
            hint="Correct the card's `findings`, or add the data set's labels",
        )
    return np.array([case.findings[known.index(name)] for name in task.findings], bool)


def resized_nearest(label: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Return a label map, or masks (masks, x, y, z), on another grid over the same field of view, by nearest voxels."""
    grid = label.shape[-3:]
    if grid == tuple(shape):
        return label
    x, y, z = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, grid, strict=True))
    return label[..., x[:, None, None], y[:, None], z]


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
