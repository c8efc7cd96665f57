"""A task from an initialisation, as the training loop sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.evaluation.crops import Crop, candidate_crops, cut_crop, foreground_crop, foreground_voxels
from sg_bench.methods.base import Losses
from sg_bench.networks.heads import Classifier, Segmenter
from sg_bench.networks.unet import Encoder3D, UNet3D
from sg_bench.networks.weights import LoadReport, load_into
from sg_bench.recipes import Stage
from sg_bench.tasks import Task
from sg_bench.training.draws import Draw, Purpose, generator
from sg_bench.training.loop import Part
from sg_bench.training.pretraining import drawn, on_device

State = dict[str, Tensor]


@dataclass(frozen=True)
class TaskBatch:
    """What one step of fine-tuning needs, on the device."""

    inputs: Tensor
    """(B, 1, X, Y, Z) in [0, 1]."""
    truths: Tensor
    """Classification: (B, 1) of 0 and 1; segmentation: (B, 1, X, Y, Z) of 0 and 1."""


def task_network(task: Task, width: int, encoder: State, decoder: State, seed: int) -> tuple[nn.Module, LoadReport]:
    """Return the task's network from an initialisation; what it lacks (head, decoder) is drawn from `seed`.

    Raises:
        MethodError: the initialisation lacks an encoder tensor, or one has another shape.
    """
    network = drawn(partial(_bare_network, task, width), seed)
    report = load_into(network.backbone, encoder, decoder, need_decoder=task.kind == "segmentation")
    return network, report


def _bare_network(task: Task, width: int) -> Classifier | Segmenter:
    return Classifier(Encoder3D(width), outputs=1) if task.kind == "classification" else Segmenter(UNet3D(width))


class FineTuning:
    """A `Learner` that fine-tunes all layers of a network on a task.

    Args:
        task: the card.
        network: from `task_network`.
        store: the task's data.
        train: ids of the training cases.
        validation: ids of the validation cases; may be empty.
        seed: the fine-tuning seed.
        device: where to compute.
    """

    def __init__(
        self,
        task: Task,
        network: nn.Module,
        store: Store,
        train: list[str],
        validation: list[str],
        seed: int,
        device: torch.device,
    ) -> None:
        self.task, self.network, self.store, self.seed, self.device = task, network, store, seed, device
        self.stages = [Stage(name="fine-tune", training=task.training, weights={task.loss: 1.0})]
        self.ids: dict[Part, list[str]] = {"train": train, "validation": validation}
        self.crops: dict[Part, list[Crop]] = {}
        if task.sampling.places == "candidates":
            wanted = None if task.kind == "classification" else True
            for part, ids in self.ids.items():
                self.crops[part] = candidate_crops(store, ids, positive=wanted)
        self.epoch_crops = self.crops.get("train", [])
        self._voxels: dict[str, NDArray[np.int64]] = {}

    def samples(self, part: Part) -> int:
        """Return how many crops a part has in one epoch."""
        if self.task.sampling.places == "foreground":
            return len(self.ids[part]) * self.task.sampling.crops_per_case
        return len(self.epoch_crops if part == "train" else self.crops[part])

    def start_epoch(self, stage: int, epoch: int) -> None:
        """Draw this epoch's negatives: as many as there are positives (protocol B.1).

        Raises:
            DataError: the training cases do not hold both.
        """
        sampling = self.task.sampling
        if self.task.kind != "classification" or not sampling.balanced:
            return
        positives = [crop for crop in self.crops["train"] if crop.positive]
        negatives = [crop for crop in self.crops["train"] if not crop.positive]
        if not positives or not negatives:
            raise DataError(
                f"{len(self.ids['train'])} training cases hold {len(positives)} positive and {len(negatives)} negative "
                "candidates, and a classification needs both",
                hint="Raise the task's fraction, or change its split's seed",
            )
        rng = generator(self.seed, Purpose.EPOCH, stage, epoch)
        chosen = sorted(rng.permutation(len(negatives))[: len(positives)].tolist())
        self.epoch_crops = positives + [negatives[index] for index in chosen]

    def batch(self, part: Part, draws: list[Draw]) -> TaskBatch:
        """Return the crops of `draws`; training crops are shifted and mirrored at random."""
        cut = [self._cut(part, draw) for draw in draws]
        images = on_device(np.stack([image for image, _ in cut]).astype(np.float32), self.device)
        truths = np.stack([truth for _, truth in cut]).astype(np.float32)
        if self.task.kind == "segmentation":
            return TaskBatch(images, on_device(truths, self.device))
        return TaskBatch(images, torch.from_numpy(truths)[:, None].to(self.device))

    def losses(self, batch: Any, stage: Stage) -> Losses:
        """Run the network on a batch: cross-entropy of the logit, or soft Dice over the whole batch."""
        logits = self.network(batch.inputs).float()
        if self.task.loss == "bce":
            return Losses({"bce": functional.binary_cross_entropy_with_logits(logits, batch.truths)})
        return Losses({"dice": soft_dice_loss(torch.sigmoid(logits), batch.truths)})

    def _cut(self, part: Part, draw: Draw) -> tuple[NDArray[Any], NDArray[Any]]:
        sampling = self.task.sampling
        augment = part == "train"
        if sampling.places == "candidates":
            crop = (self.epoch_crops if augment else self.crops[part])[draw.index]
            shift = draw.rng.integers(-sampling.shift, sampling.shift, size=3, endpoint=True) if augment else (0, 0, 0)
            image, truth = cut_crop(self.store, self.task, crop, shift)
        else:
            id_ = self.ids[part][draw.index // sampling.crops_per_case]
            crop = foreground_crop(self.store, self.task, id_, self._foreground(id_), draw.rng)
            image, truth = cut_crop(self.store, self.task, crop)
        return mirrored(image, truth, sampling.flips, draw.rng) if augment else (image, truth)

    def _foreground(self, id_: str) -> NDArray[np.int64]:
        if id_ not in self._voxels:
            self._voxels[id_] = foreground_voxels(self.store, self.task, id_)
        return self._voxels[id_]


def soft_dice_loss(probabilities: Tensor, truths: Tensor) -> Tensor:
    """Return 1 - (2 sum(yp) + 1) / (sum(y) + sum(p) + 1), over all voxels of the batch together (protocol B.0)."""
    both = (probabilities * truths).sum()
    return 1 - (2 * both + 1) / (probabilities.sum() + truths.sum() + 1)


def mirrored(
    image: NDArray[Any], truth: NDArray[Any], axes: tuple[bool, bool, bool], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return image, and truth if it is a map, mirrored along each allowed axis with probability 1/2."""
    drawn = rng.random(3) < 0.5
    chosen = tuple(axis for axis in range(3) if axes[axis] and drawn[axis])
    return np.flip(image, chosen), np.flip(truth, chosen) if truth.ndim == image.ndim else truth
