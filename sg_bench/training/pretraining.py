"""Pretraining of a method on a corpus, as a learner of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sg_bench.config import Stage
from sg_bench.data.cubes import Cubes
from sg_bench.methods.base import Batch, Losses, Method
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.memory import channels_last
from sg_bench.networks.norm import convert_sync_batchnorm
from sg_bench.training.compilation import without_compilation
from sg_bench.training.draws import Draw, Purpose, generator
from sg_bench.training.loader import to_device
from sg_bench.training.loop import TrainingPart
from sg_bench.training.ranks import World
from sg_bench.transforms.base import as_tensors
from sg_bench.transforms.streams import RandomStreams

Network = TypeVar("Network", bound=nn.Module)

EXAMPLES = 8
"""Cubes whose restoration is shown in figures."""
COMPANIONS = 1
"""Ends the key of the draw of a sample's further images, which is independent of its other parameters."""


def fresh_network(method: Method, seed: int) -> nn.Module:
    """Return the method's network with initial weights from `seed`, the same for layers that methods have in common."""
    return build_initialised(method.network, seed)


def build_initialised(build: Callable[[], Network], seed: int) -> Network:
    """Return the network that `build` makes, with initial weights from `seed`; global random states do not change."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # for layers that glorot_ leaves as they are
        network = build()
    return glorot_(network, torch_generator(seed))


def torch_generator(seed: int) -> torch.Generator:
    """Return the generator of the initial weights of `seed`."""
    return torch.Generator().manual_seed(int(generator(seed, Purpose.WEIGHTS).integers(2**62)))


class Pretraining:
    """A `Learner` that pretrains the network of a method on cubes.

    Args:
        method: makes batches and losses.
        network: its network, with initial weights.
        train: training cubes.
        validation: cubes for early stopping, with the same random parameters in every epoch.
        device: where to compute.
    """

    def __init__(
        self, method: Method, network: nn.Module, train: Cubes, validation: Cubes, device: torch.device
    ) -> None:
        self.method, self.device = method, device
        with torch.no_grad():
            method.after_initialisation(network)
        self.network = convert_sync_batchnorm(network)
        self.stages = method.stages()
        self.mean_over_samples = method.mean_over_samples
        self.shares_validation = method.mean_over_samples  # losses that compare samples need complete batches
        self.keeps_last = method.promise.of != "loss"
        self.cubes: dict[TrainingPart, Cubes] = {"train": train, "validation": validation}
        self.case_ids, self._cases = _numbered_cases(self.cubes)
        method.join(World(), self.case_ids)

    def join(self, world: World) -> None:
        """Let the method compute with the other ranks of `world`."""
        self.method.join(world, self.case_ids)

    def samples(self, part: TrainingPart) -> int:
        """Return the number of cubes of a part."""
        return len(self.cubes[part])

    def start_epoch(self, stage: int, epoch: int) -> None:
        """Do nothing: all cubes are used in every epoch."""

    def batch(self, part: TrainingPart, draws: list[Draw]) -> Batch:
        """Return the batch that the method makes of the cubes and the random streams of `draws`."""
        indices, cases = np.array([draw.index for draw in draws]), self._cases[part]
        images = sample_images(self.method, self.cubes[part], cases, draws)
        labels = torch.from_numpy(self.cubes[part].labels(indices.tolist()))
        x, y, z = images.shape[-3:]
        params = self.method.sample_params(RandomStreams([draw.key for draw in draws]), (x, y, z))
        made = self.method.make_batch(images, labels, as_tensors(params))
        return replace(made, indices=torch.from_numpy(indices), cases=torch.from_numpy(cases[indices]))

    def losses(self, batch: Any, stage: Stage) -> Losses:
        """Return the method's losses of a batch."""
        return self.method.losses(self.network, batch, stage)

    def after_step(self, step: int, steps: int, losses: Losses) -> None:
        """Let the method change its network after a step of the optimiser."""
        with torch.no_grad():
            self.method.after_step(self.network, step, steps, losses.carried)


def sample_images(method: Method, cubes: Cubes, cases: NDArray[np.int64], draws: Sequence[Draw]) -> Tensor:
    """Return the images that `method` gets for these draws: (B, C, X, Y, Z), or (B, images, C, X, Y, Z).

    `cases` is the number of the case of each of the cubes.
    """
    indices = np.array([draw.index for draw in draws])[:, None]
    if method.images_per_sample > 1:
        drawn = RandomStreams([(*draw.key, COMPANIONS) for draw in draws]).random(method.images_per_sample - 1)
        everything = np.arange(len(cubes))
        pools = [everything[cases == cases[own]] if method.from_one_case else everything for own in indices[:, 0]]
        others = [pool[(row * len(pool)).astype(int)] for pool, row in zip(pools, drawn, strict=True)]
        indices = np.concatenate([indices, np.stack(others)], axis=1)
    images = torch.from_numpy(cubes.images(indices.ravel().tolist()))
    images = images[:, None] if images.dim() == 4 else images
    return images.view(*indices.shape, *images.shape[1:]) if method.images_per_sample > 1 else images


def _numbered_cases(
    cubes: dict[TrainingPart, Cubes],
) -> tuple[list[str], dict[TrainingPart, NDArray[np.int64]]]:
    """Return the ids of all cases, sorted, and by part the index into them of each cube's case."""
    ids = sorted({id_ for part in cubes.values() for id_ in part.case_ids()})
    number = {id_: place for place, id_ in enumerate(ids)}
    return ids, {name: np.array([number[id_] for id_ in part.case_ids()], np.int64) for name, part in cubes.items()}


def restoration_examples(learner: Pretraining, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return middle slices (n, x, y) in [0, 1] of inputs, outputs and targets; {} for a method that restores nothing.

    They are of evenly spaced validation cubes, or of training cubes where there is no validation.
    """
    part: TrainingPart = "validation" if learner.samples("validation") else "train"
    indices = np.linspace(0, learner.samples(part) - 1, min(EXAMPLES, learner.samples(part))).round().astype(int)
    draws = [Draw(int(index), (seed, Purpose.VALIDATION, int(index))) for index in indices]
    batch = to_device(learner.batch(part, draws), learner.device)
    learner.network.eval()
    with torch.no_grad(), without_compilation(learner.network):
        restored = learner.method.restored(learner.network, batch.inputs)
    if restored is None:
        return {}
    images = {"inputs": batch.inputs, "outputs": restored, "targets": batch.targets}
    return {name: image[:, 0, :, :, image.shape[4] // 2].float().cpu().numpy() for name, image in images.items()}


def on_device(images: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    """Return images (n, x, y, z) as a tensor (n, 1, x, y, z) in the channels-last memory format."""
    return channels_last(torch.from_numpy(images)[:, None].to(device))
