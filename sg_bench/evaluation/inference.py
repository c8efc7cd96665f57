"""From a fine-tuned network to what it says of each test image, and to a score."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.evaluation.crops import Crop, cut_crop, fixed_crops
from sg_bench.tasks import Task
from sg_bench.workspace import write_atomic

BATCH = 16


@dataclass(frozen=True)
class Predictions:
    """What a network says of the test set, and what is true; all that a metric needs."""

    probabilities: dict[str, NDArray[np.float16]]
    """By case (or crop) id: () for classification, (x, y, z) for segmentation, in [0, 1]."""
    truths: dict[str, NDArray[np.uint8]]
    """The same ids and shapes, 0 or 1."""

    def save(self, path: Path) -> None:
        """Write both to one compressed .npz, atomically; equal predictions give equal bytes."""
        ids = sorted(self.truths)
        arrays: dict[str, Any] = {"ids": np.array(ids)}
        for number, id_ in enumerate(ids):
            arrays[f"probability_{number}"] = self.probabilities[id_]
            arrays[f"truth_{number}"] = self.truths[id_]
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Return the predictions in `path`.

        Raises:
            DataError: the file is absent or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                ids = file["ids"].tolist()
                probabilities = {id_: file[f"probability_{number}"] for number, id_ in enumerate(ids)}
                return cls(probabilities, {id_: file[f"truth_{number}"] for number, id_ in enumerate(ids)})
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"{path}: no readable predictions ({error})", hint="Delete its cell and run again"
            ) from error


def predict(task: Task, network: nn.Module, store: Store, ids: list[str], device: torch.device) -> Predictions:
    """Return what `network`, in evaluation mode, says of the test cases `ids`."""
    if task.inference.mode == "sliding_window":
        pairs = [(id_, *_whole(task, network, store, id_, device)) for id_ in ids]
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
        images = np.stack([image for image, _ in cut]).astype(np.float32)
        found = _probabilities(network, torch.from_numpy(images)[:, None].to(device))
        for crop, probability, (_, truth) in zip(chosen, found, cut, strict=True):
            yield crop.id, probability[0], truth


@torch.no_grad()
def _whole(
    task: Task, network: nn.Module, store: Store, id_: str, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a whole image's probabilities by a window that slides over it, and the truth."""
    from monai.inferers.utils import sliding_window_inference

    image = torch.from_numpy(np.array(store.image(id_), np.float32))[None, None].to(device)
    found = sliding_window_inference(
        image,
        roi_size=task.sampling.patch,
        sw_batch_size=BATCH,
        predictor=lambda window: torch.sigmoid(network(_last(window)).float()),
        overlap=task.inference.overlap,
    )
    assert isinstance(found, Tensor)
    return found[0, 0].cpu().numpy(), np.isin(store.label(id_), task.target)


def _probabilities(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    out: NDArray[np.float32] = torch.sigmoid(network(_last(images)).float()).cpu().numpy()
    return out


def _last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last_3d)
