"""Fine-tuning of an initialisation on a task, as a learner of the training loop."""

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
from sg_bench.data.identity import stable_hash
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.evaluation.crops import (
    Crop,
    candidate_or_image_crops,
    cut_crop,
    foreground_crop,
    foreground_voxels,
    masks_of,
    resized_nearest,
    truth_of,
    with_channels,
)
from sg_bench.evaluation.inference import middle_slices
from sg_bench.evaluation.shots import few_shots
from sg_bench.methods.base import Losses
from sg_bench.networks.build import task_model
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.heads import Regressor, TaskModel
from sg_bench.networks.weights import LoadReport, StateDict, load_into
from sg_bench.tasks import Task
from sg_bench.training.augmentation import apply_augmentation, sample_augmentation
from sg_bench.training.draws import Draw, Purpose, generator
from sg_bench.training.loop import TrainingPart
from sg_bench.training.pretraining import build_initialised
from sg_bench.training.task_losses import task_loss


@dataclass(frozen=True)
class TaskBatch:
    """A batch of fine-tuning."""

    inputs: Tensor
    """(B, channels, X, Y, Z) in [0, 1]."""
    truths: Tensor
    """Classification: (B, outputs) of 0 and 1; segmentation: (B, masks, X, Y, Z) of 0 and 1; regression: (B, 1)."""


def task_network(
    task: Task,
    choice: NetworkChoice,
    encoder: StateDict,
    decoder: StateDict,
    seed: int,
    *,
    channels: int = 1,
    trained: bool = True,
) -> tuple[TaskModel, LoadReport]:
    """Return a task's network with the weights of an initialisation, and a report of what was loaded.

    Weights that the initialisation lacks (the head, often the decoder) are drawn from `seed`.

    Args:
        task: the task card.
        choice: the initialisation's network.
        encoder: its encoder's tensors.
        decoder: its decoder's; can be empty.
        seed: the fine-tuning seed.
        channels: of the task's images; where the initialisation has others, `load_into` adapts its input layers.
        trained: whether the weights are trained; input layers of random ones are drawn anew instead.

    Raises:
        MethodError: the initialisation lacks an encoder tensor, or one has another shape.
    """
    choice = with_input_channels(choice, channels)
    build = partial(task_model, choice, task.kind, outputs=task.outputs, frozen=task.frozen)
    network = build_initialised(build, seed)
    need_decoder = task.kind == "segmentation" and not task.frozen
    report = load_into(network.backbone, encoder, decoder, need_decoder=need_decoder, adapt=trained)
    return network, report


def with_input_channels(choice: NetworkChoice, channels: int) -> NetworkChoice:
    """Return a network for images of so many channels."""
    if choice.config.in_channels == channels:
        return choice
    return choice.model_copy(update={"config": choice.config.model_copy(update={"in_channels": channels})})


def input_channels(store: Store) -> int:
    """Return the channels of a store's images.

    Raises:
        DataError: some cases have others than the rest.
    """
    found: dict[int, str] = {}
    for case in store.cases:
        found.setdefault(case.channels, case.id)
    if len(found) > 1:
        each = ", ".join(f"{count} in '{id_}'" for count, id_ in sorted(found.items()))
        raise DataError(
            f"the images differ in their number of channels: {each}", hint="Leave out the cases that lack some"
        )
    return next(iter(found), 1)


class FineTuning:
    """A `Learner` that fine-tunes a network on a task.

    Args:
        task: the task card.
        network: from `task_network`.
        store: the task's data.
        train: ids of the training cases.
        validation: ids of the validation cases; can be empty.
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
        self.mean_over_samples = not task.loss.startswith("dice")  # Dice is a ratio of sums over the batch
        self.ids: dict[TrainingPart, list[str]] = {"train": train, "validation": validation}
        self.crops: dict[TrainingPart, list[Crop]] = {
            part: candidate_or_image_crops(task, store, ids) for part, ids in self.ids.items()
        }
        self.crops["validation"] = _validation_subset(self.crops["validation"], task)
        self.ids["train"], self.crops["train"] = few_shots(task, store, train, self.crops["train"], seed)
        self.epoch_crops = self.crops["train"]
        self._voxels: dict[str, NDArray[np.int64]] = {}
        self._deviation = 1.0
        if isinstance(network, Regressor):
            self._deviation = network.set_scale([float(truth_of(store, task, crop)[0]) for crop in self.crops["train"]])

    def samples(self, part: TrainingPart) -> int:
        """Return the number of crops of a part in one epoch."""
        if self.task.sampling.places == "foreground":
            return len(self.ids[part]) * self.task.sampling.crops_per_case
        return len(self.epoch_crops if part == "train" else self.crops[part])

    def start_epoch(self, stage: int, epoch: int) -> None:
        """Draw the negative candidates of an epoch, as many as there are positive ones (protocol B.1), if `balanced`.

        Raises:
            DataError: the training cases have no positive or no negative candidate.
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
        """Return the crops and truths of `draws`, augmented in training."""
        samples = [self._sample(part, draw) for draw in draws]
        images = torch.from_numpy(with_channels([image for image, _ in samples]))
        truths = torch.from_numpy(np.stack([truth for _, truth in samples]).astype(np.float32))
        return TaskBatch(images, truths[:, None] if truths.dim() == 4 else truths)

    def losses(self, batch: Any, stage: Stage) -> Losses:
        """Return the task's loss of a batch."""
        return self.losses_of(self.outputs(batch), batch)

    def outputs(self, batch: TaskBatch) -> Tensor:
        """Return the logits of a batch, (B, outputs) or (B, outputs, X, Y, Z); of a regression the values."""
        logits: Tensor = self.network(batch.inputs)
        return logits.float()

    def losses_of(self, outputs: Tensor, batch: TaskBatch) -> Losses:
        """Return the losses of a batch from its logits."""
        if self.task.loss == "mse":
            return Losses({"mse": functional.mse_loss(outputs / self._deviation, batch.truths / self._deviation)})
        return Losses({self.task.loss: task_loss(self.task, outputs, batch.truths)})

    def _sample(self, part: TrainingPart, draw: Draw) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return image and truth of one sample."""
        if part == "validation":
            return self._validation_sample(draw.index)
        sampling, rng = self.task.sampling, draw.rng
        if sampling.places == "image" and sampling.patch[2] == 1:
            return self._augmented_image(self.epoch_crops[draw.index], rng)
        if sampling.places == "foreground":
            id_ = self.ids["train"][draw.index // sampling.crops_per_case]
            image, truth = cut_crop(self.store, self.task, self._foreground_crop(id_, rng))
        elif sampling.places == "image":
            image, truth = cut_crop(self.store, self.task, self.epoch_crops[draw.index])
        else:
            shift = rng.integers(-sampling.shift, sampling.shift, size=3, endpoint=True)
            image, truth = cut_crop(self.store, self.task, self.epoch_crops[draw.index], shift)
        image, truth = random_flip(image, truth, sampling.flips, rng)
        return random_slice(image, truth, self.task, rng) if sampling.slices else (image, truth)

    def _validation_sample(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return image and truth of a validation sample, the same in every epoch.

        Random numbers depend on the id of the crop instead of its index, which changes with the cases before it.
        """
        sampling = self.task.sampling
        if sampling.places == "foreground":
            number, id_ = index % sampling.crops_per_case, self.ids["validation"][index // sampling.crops_per_case]
            crop = self._foreground_crop(id_, self._validation_rng(f"{id_}#{number}"))
        else:
            crop = self.crops["validation"][index]
        image, truth = cut_crop(self.store, self.task, crop)
        if sampling.slices:
            return random_slice(image, truth, self.task, self._validation_rng(crop.id))
        return image, truth

    def _validation_rng(self, crop_id: str) -> np.random.Generator:
        return generator(self.seed, Purpose.VALIDATION, stable_hash(crop_id))

    def _augmented_image(self, crop: Crop, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a 2D training image, augmented at random, and its truth."""
        sampling, image = self.task.sampling, self.store.image(crop.case)
        params = sample_augmentation(sampling.augmentation, sampling.flips, sampling.patch, rng)
        augmented = apply_augmentation(image, sampling.patch, params)
        if self.task.kind != "segmentation":
            return augmented, truth_of(self.store, self.task, crop)
        masks = masks_of(self.task, self.store.label(crop.case))
        return augmented, apply_augmentation(masks, sampling.patch, params, label=True)

    def _foreground_crop(self, id_: str, rng: np.random.Generator) -> Crop:
        if id_ not in self._voxels:
            self._voxels[id_] = foreground_voxels(self.store, self.task, id_)
        return foreground_crop(self.store, self.task, id_, self._voxels[id_], rng)


def _validation_subset(crops: list[Crop], task: Task) -> list[Crop]:
    """Return all positive crops, and of the negative ones at most `validation_negatives` for each positive.

    The negative ones are those with the smallest hashes of split seed and crop id, so that a crop hardly depends on the
    others.
    """
    negatives_each = task.sampling.validation_negatives
    if negatives_each is None:
        return crops
    most = negatives_each * max(1, sum(crop.positive for crop in crops))
    negatives = [crop.id for crop in crops if not crop.positive]
    chosen = set(sorted(negatives, key=lambda id_: stable_hash(f"{task.split.seed} {id_}"))[:most])
    return [crop for crop in crops if crop.positive or crop.id in chosen]


def random_slice(
    image: NDArray[Any], truth: NDArray[Any], task: Task, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a random axial slice (size, size, 1) of a crop, for classification one of the middle slices."""
    slices = task.sampling.slices
    assert slices is not None
    depth = image.shape[-1]
    allowed = range(depth) if task.kind == "segmentation" else middle_slices(depth, slices.scored)
    k = allowed[int(rng.integers(len(allowed)))]
    size = (slices.size, slices.size, 1)
    flat = resized(image[..., k : k + 1], size)
    return flat, resized_nearest(truth[..., k : k + 1], size) if task.kind == "segmentation" else truth


def random_flip(
    image: NDArray[Any], truth: NDArray[Any], axes: tuple[bool, bool, bool], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return image, and truth if it is a mask, mirrored along each allowed axis with probability 1/2."""
    flipped = rng.random(3) < 0.5
    chosen = tuple(
        axis - 3 for axis in range(3) if axes[axis] and flipped[axis]
    )  # of channels or masks, the last three
    return np.flip(image, chosen), np.flip(truth, chosen) if truth.ndim >= 3 else truth
