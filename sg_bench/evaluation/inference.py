"""Predictions of a fine-tuned network for test cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sg_bench.data.sampling import cut
from sg_bench.data.store import Store
from sg_bench.evaluation.crops import Crop, cut_crop, fixed_crops, truth_of
from sg_bench.evaluation.predictions import Predictions
from sg_bench.networks.memory import channels_last
from sg_bench.tasks import Slices, Task

BATCH = 16


def predict(task: Task, network: nn.Module, store: Store, ids: list[str], device: torch.device) -> Predictions:
    """Return the predictions of `network`, in evaluation mode, for the test cases `ids`, with their truths."""
    if task.inference.mode == "sliding_window":
        found = [(id_, *_sliding_window(task, network, store, id_, device)) for id_ in ids]
    elif task.inference.mode == "ten_crop":
        found = [(id_, *_ten_crop(task, network, store, id_, device)) for id_ in ids]
    else:
        found = list(_crop_by_crop(task, network, store, fixed_crops(task, store, ids), device))
    probabilities = {id_: np.asarray(probability, np.float16) for id_, probability, _ in found}
    return Predictions(probabilities, {id_: np.asarray(truth, np.uint8) for id_, _, truth in found})


@torch.no_grad()
def _crop_by_crop(
    task: Task, network: nn.Module, store: Store, crops: Sequence[Crop], device: torch.device
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield id, probabilities and truth of each crop."""
    for first in range(0, len(crops), BATCH):
        batch = crops[first : first + BATCH]
        samples = [cut_crop(store, task, crop) for crop in batch]
        images = torch.from_numpy(np.stack([image for image, _ in samples]).astype(np.float32))[:, None].to(device)
        if task.sampling.slices:
            probabilities = _slice_by_slice(task, network, images, task.sampling.slices)
        else:
            probabilities = torch.sigmoid(_logits(network, images))
        for crop, probability, (_, truth) in zip(batch, probabilities.cpu().numpy(), samples, strict=True):
            yield crop.id, probability[0] if task.kind == "segmentation" else probability, truth


@torch.no_grad()
def _ten_crop(
    task: Task, network: nn.Module, store: Store, id_: str, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean probabilities of a 2D image's corners and middle, each mirrored along x too, and the truth."""
    image, patch = np.asarray(store.image(id_), np.float32), task.sampling.patch
    right, bottom = image.shape[0] - patch[0], image.shape[1] - patch[1]
    starts = [(0, 0, 0), (right, 0, 0), (0, bottom, 0), (right, bottom, 0), (right // 2, bottom // 2, 0)]
    images = np.stack([cut(image, start, patch) for start in starts])
    both = torch.from_numpy(np.concatenate([images, images[:, ::-1]]))[:, None].to(device)
    (crop,) = fixed_crops(task, store, [id_])
    return torch.sigmoid(_logits(network, both)).mean(dim=0).cpu().numpy(), truth_of(store, task, crop)


@torch.no_grad()
def _sliding_window(
    task: Task, network: nn.Module, store: Store, id_: str, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a volume's probabilities, averaged over overlapping windows, and the truth."""
    from monai.inferers.utils import sliding_window_inference

    def predictor(window: Tensor) -> Tensor:
        probabilities = torch.sigmoid(_logits(network, _resized(window, task.sampling.patch)))
        return _resized(probabilities, window.shape[2:])

    image = torch.from_numpy(np.array(store.image(id_), np.float32))[None, None].to(device)
    probabilities = sliding_window_inference(
        image,
        roi_size=task.sampling.cut,
        sw_batch_size=BATCH,
        predictor=predictor,
        overlap=task.inference.overlap,
    )
    assert isinstance(probabilities, Tensor)
    return probabilities[0, 0].cpu().numpy(), np.isin(store.label(id_), task.target)


def _slice_by_slice(task: Task, network: nn.Module, images: Tensor, slices: Slices) -> Tensor:
    """Return the probabilities of crops of volumes (B, 1, X, Y, Z), by a 2D network applied to axial slices.

    Classification: (B, 1), from the mean logit of the middle slices; segmentation: (B, 1, X, Y, Z), one slice each.
    """
    x, y, z = images.shape[2:]
    chosen = range(z) if task.kind == "segmentation" else middle_slices(z, slices.scored)
    each = [_logits(network, _resized(images[..., k : k + 1], (slices.size, slices.size, 1))) for k in chosen]
    if task.kind == "classification":
        return torch.sigmoid(torch.stack(each).mean(dim=0))
    return torch.cat([_resized(torch.sigmoid(logits), (x, y, 1)) for logits in each], dim=-1)


def middle_slices(count: int, wanted: int) -> range:
    """Return the indices of the `wanted` middle slices out of `count`, or of all if there are fewer."""
    first = max(0, (count - wanted) // 2)
    return range(first, min(count, first + wanted))


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    out: Tensor = network(channels_last(images)).float()
    return out


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Return (B, C, X, Y, Z) resized by linear interpolation."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return functional.interpolate(images, size=tuple(size), mode="trilinear", align_corners=False)
