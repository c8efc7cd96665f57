"""Features of a frozen encoder: of images for classification, and of single voxels for segmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sg_bench.data.cubes import resized
from sg_bench.data.identity import stable_hash
from sg_bench.data.store import Store
from sg_bench.evaluation.crops import (
    Crop,
    candidate_or_image_crops,
    cut_crop,
    foreground_crop,
    foreground_voxels,
    resized_nearest,
    truth_of,
    with_channels,
)
from sg_bench.evaluation.inference import BATCH, middle_slices
from sg_bench.networks.backbone import Backbone, global_average
from sg_bench.networks.memory import channels_last
from sg_bench.networks.norm import reestimate
from sg_bench.tasks import Task

CROPS_PER_CASE = 4
"""Most crops of a case of a foreground task whose voxels are sampled."""
VOXELS = 64
"""Most voxels that are sampled of a crop: half of them in the target, if it holds so many."""
CALIBRATION_CROPS = 512
"""Most crops, evenly spaced among those of training, that batch norm's running statistics are estimated on."""


def training_crops(task: Task, store: Store, ids: Sequence[str]) -> list[Crop]:
    """Return the crops of training cases that features are computed of, the same for every seed.

    Of candidates that are `balanced` there are as many negatives as positives: those with the smallest hashes of the
    split's seed and the crop's id. Crops of a foreground task depend on the split's seed and the case's id alone.
    """
    sampling = task.sampling
    if sampling.places == "foreground":
        return [crop for id_ in ids for crop in _foreground_crops(task, store, id_)]
    crops = candidate_or_image_crops(task, store, ids)
    if task.kind != "classification" or sampling.places != "candidates" or not sampling.balanced:
        return crops
    negatives = [crop.id for crop in crops if not crop.positive]
    ranked = sorted(negatives, key=lambda id_: stable_hash(f"{task.split.seed} {id_}"))
    kept = set(ranked[: len(crops) - len(negatives)])
    return [crop for crop in crops if crop.positive or crop.id in kept]


def _foreground_crops(task: Task, store: Store, id_: str) -> list[Crop]:
    voxels = foreground_voxels(store, task, id_)
    rng = np.random.default_rng([task.split.seed, stable_hash(id_)])
    count = min(CROPS_PER_CASE, task.sampling.crops_per_case)
    return [foreground_crop(store, task, id_, voxels, rng, number) for number in range(count)]


def estimate_norms(task: Task, encoder: Backbone, store: Store, crops: Sequence[Crop], device: torch.device) -> None:
    """Set the running statistics of every batch norm to those of training crops, without their labels.

    Pretrained statistics are those of corrupted images, and untrained weights have none.
    """
    spaced = crops[:: max(1, -(-len(crops) // CALIBRATION_CROPS))]
    batches = (images for batch, _ in _batches(task, store, spaced) for images in _views(task, batch)[:1])
    least = min(2, len(spaced))  # a map of one voxel has no variance over one image
    reestimate(encoder, (images for images in batches if len(images) >= least), device)


@torch.no_grad()
def image_features(
    task: Task, encoder: Backbone, store: Store, crops: Sequence[Crop], device: torch.device
) -> dict[str, NDArray[Any]]:
    """Return `ids` (N,), `values` (N, channels) float32 and `truths` (N, outputs) of crops.

    Truths are uint8, those of a regression float32. A crop's features are the global average of the encoder's coarsest
    map; of slices, their mean over the middle ones.
    """
    values = [
        torch.stack(
            [global_average(encoder.features(channels_last(view.to(device)))[-1]) for view in _views(task, batch)]
        )
        .mean(dim=0)
        .float()
        .cpu()
        .numpy()
        for batch, _ in _batches(task, store, crops)
    ]
    return {
        "ids": np.array([crop.id for crop in crops]),
        "values": np.concatenate(values),
        "truths": np.stack([truth_of(store, task, crop) for crop in crops]).astype(
            np.float32 if task.kind == "regression" else np.uint8
        ),
    }


@torch.no_grad()
def voxel_features(
    task: Task, encoder: Backbone, store: Store, crops: Sequence[Crop], device: torch.device
) -> dict[str, NDArray[Any]]:
    """Return features of voxels that are sampled in crops, at most `VOXELS` of each.

    A voxel's features are all maps of the encoder, interpolated linearly to the image's grid, one after the other.

    Returns:
        `ids` (N,) of the crops, `values` (N, sum of channels) float32, `truths` (N, 1) uint8, and `weights` (N,)
        float32: how many voxels of its crop a voxel stands for.
    """
    ids, values, truths, weights = list[str](), [], [], []
    for crop in crops:
        image, mask = _flat(task, *cut_crop(store, task, crop))
        places, weight = _sampled_voxels(mask, np.random.default_rng([task.split.seed, stable_hash(crop.id)]))
        batch = torch.from_numpy(with_channels([image])).to(device)
        values.append(_at_voxels(encoder.features(channels_last(batch)), places, mask.shape))
        truths.append(mask.reshape(-1)[places].astype(np.uint8))
        weights.append(weight)
        ids += [crop.id] * len(places)
    return {
        "ids": np.array(ids),
        "values": np.concatenate(values),
        "truths": np.concatenate(truths)[:, None],
        "weights": np.concatenate(weights),
    }


def _sampled_voxels(mask: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return flat indices of sampled voxels, and how many voxels of the mask each of them stands for."""
    inside, outside = np.flatnonzero(mask), np.flatnonzero(~mask.astype(bool))
    first = min(len(inside), max(VOXELS // 2, VOXELS - len(outside)))
    parts = [(inside, first), (outside, min(len(outside), VOXELS - first))]
    places = [np.sort(rng.permutation(found)[:count]) for found, count in parts]
    weights = [np.full(count, len(found) / max(1, count), np.float32) for found, count in parts]
    return np.concatenate(places), np.concatenate(weights)


def _at_voxels(maps: Sequence[Tensor], places: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.float32]:
    """Return (N, sum of channels): maps of one image, interpolated as `interpolate` does, at flat voxel indices."""
    sides = shape[: maps[0].dim() - 2]
    index = np.unravel_index(places, tuple(shape))
    points = [(2 * index[axis] + 1) / sides[axis] - 1 for axis in reversed(range(len(sides)))]
    grid = torch.from_numpy(np.stack(points, axis=-1).astype(np.float32)).to(maps[0].device)
    grid = grid.reshape(1, len(places), *[1] * (len(sides) - 1), len(sides))
    sampled = [
        functional.grid_sample(each.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        .flatten(2)[0]
        .T
        for each in maps
    ]
    return torch.cat(sampled, dim=1).cpu().numpy()


def _batches(task: Task, store: Store, crops: Sequence[Crop]) -> Iterator[tuple[Tensor, Sequence[Crop]]]:
    """Yield images (B, channels, X, Y, Z) in [0, 1] with their crops."""
    for first in range(0, len(crops), BATCH):
        batch = crops[first : first + BATCH]
        yield torch.from_numpy(with_channels([cut_crop(store, task, crop)[0] for crop in batch])), batch


def _views(task: Task, images: Tensor) -> list[Tensor]:
    """Return what the network sees of crops: themselves, or their middle slices."""
    slices = task.sampling.slices
    if slices is None:
        return [images]
    wanted = middle_slices(images.shape[4], slices.scored if task.kind != "segmentation" else 1)
    size = (slices.size, slices.size, 1)
    return [functional.interpolate(images[..., k : k + 1], size=size, mode="trilinear") for k in wanted]


def _flat(task: Task, image: NDArray[Any], mask: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return image and mask as they are, or their middle slice where the network sees slices."""
    slices = task.sampling.slices
    if slices is None:
        return image, mask
    (k,) = middle_slices(image.shape[-1], 1)
    size = (slices.size, slices.size, 1)
    return resized(image[..., k : k + 1], size), resized_nearest(mask[..., k : k + 1], size)
