"""From a fine-tuned network to what it says of each test image, and to a score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sg_bench.data.sampling import CropStart, cut
from sg_bench.data.store import Store
from sg_bench.evaluation.crops import Crop, cut_crop, fixed_crops, truth_of
from sg_bench.evaluation.predictions import Predictions
from sg_bench.networks.memory import channels_last
from sg_bench.tasks import Slices, Task

BATCH = 16


def predict(task: Task, network: nn.Module, store: Store, ids: list[str], device: torch.device) -> Predictions:
    """Return what `network`, in evaluation mode, says of the test cases `ids`."""
    if task.inference.mode == "sliding_window":
        pairs = [(id_, *_whole(task, network, store, id_, device)) for id_ in ids]
    elif task.inference.mode == "ten_crop":
        pairs = [(id_, *_ten_crops(task, network, store, id_, device)) for id_ in ids]
    else:
        pairs = list(_crops(task, network, store, fixed_crops(task, store, ids), device))
    probabilities = {id_: np.asarray(found, np.float16) for id_, found, _ in pairs}
    return Predictions(probabilities, {id_: np.asarray(truth, np.uint8) for id_, _, truth in pairs})


@torch.no_grad()
def _crops(
    task: Task, network: nn.Module, store: Store, crops: Sequence[Crop], device: torch.device
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    for first in range(0, len(crops), BATCH):
        chosen = crops[first : first + BATCH]
        cut = [cut_crop(store, task, crop) for crop in chosen]
        images = torch.from_numpy(np.stack([image for image, _ in cut]).astype(np.float32))[:, None].to(device)
        if task.sampling.slices:
            found = sliced(task, network, images, task.sampling.slices)
        else:
            found = torch.sigmoid(_logits(network, images))
        for crop, probability, (_, truth) in zip(chosen, found.cpu().numpy(), cut, strict=True):
            yield crop.id, probability[0] if task.kind == "segmentation" else probability, truth


@torch.no_grad()
def _ten_crops(
    task: Task, network: nn.Module, store: Store, id_: str, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a film's mean probabilities over its four corners and its middle, each mirrored along x too."""
    film = np.asarray(store.image(id_), np.float32)
    images = np.stack(
        [cut(film, start, task.sampling.patch) for start in _five_starts(film.shape, task.sampling.patch)]
    )
    both = torch.from_numpy(np.concatenate([images, images[:, ::-1]]))[:, None].to(device)
    (crop,) = fixed_crops(task, store, [id_])
    return torch.sigmoid(_logits(network, both)).mean(dim=0).cpu().numpy(), truth_of(store, task, crop)


def _five_starts(shape: Sequence[int], patch: Sequence[int]) -> list[CropStart]:
    right, bottom = shape[0] - patch[0], shape[1] - patch[1]
    return [(0, 0, 0), (right, 0, 0), (0, bottom, 0), (right, bottom, 0), (right // 2, bottom // 2, 0)]


@torch.no_grad()
def _whole(
    task: Task, network: nn.Module, store: Store, id_: str, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a whole volume's probabilities by a window that slides over it, and the truth."""
    from monai.inferers.utils import sliding_window_inference

    def predictor(window: Tensor) -> Tensor:
        found = torch.sigmoid(_logits(network, _resized(window, task.sampling.patch)))
        return _resized(found, window.shape[2:])

    image = torch.from_numpy(np.array(store.image(id_), np.float32))[None, None].to(device)
    found = sliding_window_inference(
        image,
        roi_size=task.sampling.cut,
        sw_batch_size=BATCH,
        predictor=predictor,
        overlap=task.inference.overlap,
    )
    assert isinstance(found, Tensor)
    return found[0, 0].cpu().numpy(), np.isin(store.label(id_), task.target)


def sliced(task: Task, network: nn.Module, images: Tensor, slices: Slices) -> Tensor:
    """Return the probabilities of volumes' crops (B, 1, X, Y, Z) by a 2D network, axial slice by slice.

    Classification: (B, 1) from the mean logit of the middle slices; segmentation: (B, 1, X, Y, Z), stacked again.
    """
    x, y, z = images.shape[2:]
    kept = range(z) if task.kind == "segmentation" else middle_slices(z, slices.scored)
    each = [_logits(network, _resized(images[..., k : k + 1], (slices.size, slices.size, 1))) for k in kept]
    if task.kind == "classification":
        return torch.sigmoid(torch.stack(each).mean(dim=0))
    return torch.cat([_resized(torch.sigmoid(logits), (x, y, 1)) for logits in each], dim=-1)


def middle_slices(count: int, wanted: int) -> range:
    """Return the numbers of the `wanted` middle ones of `count` slices; all where there are fewer."""
    first = max(0, (count - wanted) // 2)
    return range(first, min(count, first + wanted))


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    out: Tensor = network(channels_last(images)).float()
    return out


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Return (B, C, X, Y, Z) interpolated linearly to another size."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return functional.interpolate(images, size=tuple(size), mode="trilinear", align_corners=False)
