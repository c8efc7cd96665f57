"""Predictions of a fine-tuned network for test cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sg_bench.data.sampling import cut
from sg_bench.data.store import Store
from sg_bench.evaluation.crops import Crop, cut_crop, fixed_crops, masks_of, truth_of, with_channels
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.scoring import Scoring
from sg_bench.networks.memory import channels_last
from sg_bench.tasks import Slices, Task

BATCH = 16
_KINDS: dict[str, tuple[Any, Any]] = {"regression": (np.float32, np.float32)}
"""Types in which predictions and truths are kept, where not in half precision and as 0 and 1."""


def predict(task: Task, network: nn.Module, store: Store, ids: list[str], device: torch.device) -> Predictions:
    """Return the predictions of `network`, in evaluation mode, for the test cases `ids`, with their truths."""
    if task.inference.mode == "sliding_window":
        found = [(id_, *_sliding_window(task, network, store, id_, device)) for id_ in ids]
    elif task.inference.mode == "ten_crop":
        found = [(id_, *_ten_crop(task, network, store, id_, device)) for id_ in ids]
    else:
        found = list(_crop_by_crop(task, network, store, fixed_crops(task, store, ids), device))
    predicted, true = _KINDS.get(task.kind, (np.float16, np.uint8))
    if task.kind == "segmentation" and not task.target:
        predicted = np.uint8  # masks
    probabilities = {id_: np.asarray(probability, predicted) for id_, probability, _ in found}
    truths = {id_: np.asarray(truth, true) for id_, _, truth in found}
    return Predictions(probabilities, truths, _spacings(task, store, truths))


@torch.no_grad()
def _crop_by_crop(
    task: Task, network: nn.Module, store: Store, crops: Sequence[Crop], device: torch.device
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield id, probabilities and truth of each crop."""
    for first in range(0, len(crops), BATCH):
        batch = crops[first : first + BATCH]
        samples = [cut_crop(store, task, crop) for crop in batch]
        images = torch.from_numpy(with_channels([image for image, _ in samples])).to(device)
        if task.sampling.slices:
            probabilities = _slice_by_slice(task, network, images, task.sampling.slices)
        else:
            probabilities = activated(task, _logits(network, images))
        for crop, probability, (_, truth) in zip(batch, probabilities.cpu().numpy(), samples, strict=True):
            yield crop.id, _masks(task, probability) if task.kind == "segmentation" else probability, truth


def activated(task: Task, outputs: Tensor) -> Tensor:
    """Return probabilities (B, outputs, ...) from logits; a regression's values are as the network gives them."""
    if task.kind == "regression":
        return outputs
    return torch.softmax(outputs, dim=1) if task.exclusive else torch.sigmoid(outputs)


def _masks(task: Task, probabilities: NDArray[np.float32]) -> NDArray[Any]:
    """Return what is kept of probabilities (outputs, x, y, z): those of one target, or the masks of classes or regions.

    A voxel is of its most probable class, which may be background, or of every region with p > 0.5.
    """
    if task.target:
        return np.asarray(probabilities[0])
    if not task.exclusive:
        return np.asarray(probabilities > np.float32(0.5))
    return np.asarray(probabilities.argmax(axis=0) == np.arange(1, len(probabilities))[:, None, None, None])


def _spacings(task: Task, store: Store, ids: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """Return the spacing of each prediction where a metric of the card needs it; crops may be resized to the patch."""
    if not Scoring.of(task.key_content()).surfaces:
        return {}
    window = task.inference.mode != "sliding_window"
    factors = [cut / side if window else 1.0 for cut, side in zip(task.sampling.cut, task.sampling.patch, strict=True)]
    found = {}
    for id_ in ids:
        own = store[id_ if id_ in store else id_.rpartition("#")[0]].spacing
        found[id_] = (own[0] * factors[0], own[1] * factors[1], own[2] * factors[2])
    return found


@torch.no_grad()
def _ten_crop(
    task: Task, network: nn.Module, store: Store, id_: str, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean probabilities of a 2D image's corners and middle, each mirrored along x too, and the truth."""
    image, patch = np.asarray(store.image(id_), np.float32), task.sampling.patch
    right, bottom = image.shape[-3] - patch[0], image.shape[-2] - patch[1]
    starts = [(0, 0, 0), (right, 0, 0), (0, bottom, 0), (right, bottom, 0), (right // 2, bottom // 2, 0)]
    images = with_channels([cut(image, start, patch) for start in starts])
    both = torch.from_numpy(np.concatenate([images, images[:, :, ::-1]])).to(device)
    (crop,) = fixed_crops(task, store, [id_])
    return activated(task, _logits(network, both)).mean(dim=0).cpu().numpy(), truth_of(store, task, crop)


@torch.no_grad()
def _sliding_window(
    task: Task, network: nn.Module, store: Store, id_: str, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a volume's probabilities, averaged over overlapping windows, or the masks of these, and the truth."""
    from monai.inferers.utils import sliding_window_inference

    def predictor(window: Tensor) -> Tensor:
        probabilities = activated(task, _logits(network, _resized(window, task.sampling.patch)))
        return _resized(probabilities, window.shape[2:])

    image = torch.from_numpy(with_channels([store.image(id_)])).to(device)
    probabilities = sliding_window_inference(
        image,
        roi_size=task.sampling.cut,
        sw_batch_size=BATCH,
        predictor=predictor,
        overlap=task.inference.overlap,
    )
    assert isinstance(probabilities, Tensor)
    return _masks(task, probabilities[0].cpu().numpy()), masks_of(task, store.label(id_))


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
