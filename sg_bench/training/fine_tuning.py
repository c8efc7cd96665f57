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

from sg_bench.config import Stage
from sg_bench.data.cubes import resized
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.evaluation.crops import (
    Crop,
    candidate_crops,
    cut_crop,
    foreground_crop,
    foreground_voxels,
    image_crops,
    nearest,
    truth_of,
)
from sg_bench.evaluation.inference import middle_slices
from sg_bench.methods.base import Losses
from sg_bench.networks.build import task_model
from sg_bench.networks.heads import TaskModel
from sg_bench.networks.weights import LoadReport, StateDict, load_into
from sg_bench.tasks import Task
from sg_bench.training.augmentation import draw_variation, varied
from sg_bench.training.draws import Draw, Purpose, generator
from sg_bench.training.loop import TrainingPart
from sg_bench.training.pretraining import drawn, on_device


@dataclass(frozen=True)
class TaskBatch:
    """What one step of fine-tuning needs, on the device."""

    inputs: Tensor
    """(B, 1, X, Y, Z) in [0, 1]."""
    truths: Tensor
    """Classification: (B, outputs) of 0 and 1; segmentation: (B, 1, X, Y, Z) of 0 and 1."""


def task_network(
    task: Task, width: int, encoder: StateDict, decoder: StateDict, seed: int, *, architecture: str = ""
) -> tuple[TaskModel, LoadReport]:
    """Return the task's network from an initialisation; what it lacks (head, decoder) is drawn from `seed`.

    Published weights of another network than the papers' say its `architecture`.

    Raises:
        MethodError: the initialisation lacks an encoder tensor, or one has another shape.
    """
    network = drawn(partial(_bare_network, task, width, architecture), seed)
    need_decoder = task.kind == "segmentation" and not task.frozen
    report = load_into(network.backbone, encoder, decoder, need_decoder=need_decoder)
    return network, report


def _bare_network(task: Task, width: int, architecture: str) -> TaskModel:
    return task_model(
        task.dimension, task.kind, width, outputs=task.outputs, frozen=task.frozen, architecture=architecture
    )


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
        self.ids: dict[TrainingPart, list[str]] = {"train": train, "validation": validation}
        self.crops: dict[TrainingPart, list[Crop]] = {part: _crops(task, store, ids) for part, ids in self.ids.items()}
        self.crops["validation"] = _thinned(self.crops["validation"], task)
        self.epoch_crops = self.crops["train"]
        self._voxels: dict[str, NDArray[np.int64]] = {}

    def samples(self, part: TrainingPart) -> int:
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
        if self.task.kind != "classification" or sampling.places != "candidates" or not sampling.balanced:
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

    def batch(self, part: TrainingPart, draws: list[Draw]) -> TaskBatch:
        """Return the crops of `draws`; training crops are shifted and mirrored at random."""
        cut = [self._cut(part, draw) for draw in draws]
        images = on_device(np.stack([image for image, _ in cut]).astype(np.float32), self.device)
        truths = np.stack([truth for _, truth in cut]).astype(np.float32)
        if self.task.kind == "segmentation":
            return TaskBatch(images, on_device(truths, self.device))
        return TaskBatch(images, torch.from_numpy(truths).to(self.device))

    def losses(self, batch: Any, stage: Stage) -> Losses:
        """Run the network on a batch: cross-entropy of the logit, or soft Dice over the whole batch."""
        logits = self.network(batch.inputs).float()
        if self.task.loss == "bce":
            return Losses({"bce": functional.binary_cross_entropy_with_logits(logits, batch.truths)})
        return Losses({"dice": soft_dice_loss(torch.sigmoid(logits), batch.truths)})

    def _cut(self, part: TrainingPart, draw: Draw) -> tuple[NDArray[Any], NDArray[Any]]:
        sampling = self.task.sampling
        augment = part == "train"
        if sampling.places == "foreground":
            id_ = self.ids[part][draw.index // sampling.crops_per_case]
            crop = foreground_crop(self.store, self.task, id_, self._foreground(id_), draw.rng)
            image, truth = cut_crop(self.store, self.task, crop)
        elif sampling.places == "image" and augment:
            return self._varied(self.epoch_crops[draw.index], draw.rng)
        else:
            crop = (self.epoch_crops if augment else self.crops[part])[draw.index]
            shift = draw.rng.integers(-sampling.shift, sampling.shift, size=3, endpoint=True) if augment else (0, 0, 0)
            image, truth = cut_crop(self.store, self.task, crop, shift)
        image, truth = mirrored(image, truth, sampling.flips, draw.rng) if augment else (image, truth)
        return drawn_slice(image, truth, self.task, draw.rng) if sampling.slices else (image, truth)

    def _varied(self, crop: Crop, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a training film, cropped, turned and changed at random, and what is true of it."""
        sampling, film = self.task.sampling, self.store.image(crop.case)
        variation = draw_variation(sampling.augmentation, sampling.flips, sampling.patch, rng)
        image = varied(film, sampling.patch, variation)
        if self.task.kind == "classification":
            return image, truth_of(self.store, self.task, crop)
        mask = np.isin(self.store.label(crop.case), self.task.target)
        return image, varied(mask, sampling.patch, variation, label=True)

    def _foreground(self, id_: str) -> NDArray[np.int64]:
        if id_ not in self._voxels:
            self._voxels[id_] = foreground_voxels(self.store, self.task, id_)
        return self._voxels[id_]


def _crops(task: Task, store: Store, ids: list[str]) -> list[Crop]:
    """Return all crops of some cases that are known beforehand: none of a foreground task's."""
    if task.sampling.places == "candidates":
        return candidate_crops(store, ids, positive=None if task.kind == "classification" else True)
    return image_crops(store, ids) if task.sampling.places == "image" else []


def _thinned(crops: list[Crop], task: Task) -> list[Crop]:
    """Return validation's crops: all positives, and as many negatives for each as the card allows, always the same."""
    positives = sum(crop.positive for crop in crops)
    most = task.sampling.validation_negatives
    negatives = [number for number, crop in enumerate(crops) if not crop.positive]
    if most is None or len(negatives) <= most * max(1, positives):
        return crops
    order = np.random.default_rng([task.split.seed]).permutation(negatives)
    left_out = set(order[most * max(1, positives) :].tolist())
    return [crop for number, crop in enumerate(crops) if number not in left_out]


def drawn_slice(
    image: NDArray[Any], truth: NDArray[Any], task: Task, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return one axial slice (size, size, 1) of a crop: a middle one (classification), any one (segmentation)."""
    slices = task.sampling.slices
    assert slices is not None
    depth = image.shape[2]
    allowed = range(depth) if task.kind == "segmentation" else middle_slices(depth, slices.scored)
    k = allowed[int(rng.integers(len(allowed)))]
    size = (slices.size, slices.size, 1)
    flat = resized(image[..., k : k + 1], size)
    return flat, nearest(truth[..., k : k + 1], size) if task.kind == "segmentation" else truth


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
