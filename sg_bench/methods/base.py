"""What a method is: a way to obtain an initialisation. It knows nothing of Ray, files, tasks or tables.

A plugin subclasses `Method`, or `Restoration` if it corrupts images and restores them, and states its batch and loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from sg_bench.config import CropRule, Shape, Stage
from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone
from sg_bench.networks.build import unet
from sg_bench.networks.weights import StateDict, split_state
from sg_bench.transforms.base import Params

ReadWeights = Callable[[str, str], StateDict]
"""Returns the tensors of published weights, given their name in the catalogue and the SHA-256 of their file."""


@dataclass(frozen=True)
class Crops:
    """Pretrain on random cubes of every volume."""

    rule: CropRule
    per_volume: int


@dataclass(frozen=True)
class WholeVolumes:
    """Pretrain on whole volumes, each resized to one shape."""

    shape: Shape


@dataclass(frozen=True)
class Patterns:
    """Pretrain on the self-discovered cubes, with their pseudo-labels."""

    permuted: bool = False
    """Deal the pseudo-labels out at random among the training cubes: a control that has nothing to discover."""


PretrainingSampling = Crops | WholeVolumes | Patterns


@dataclass(frozen=True)
class Batch:
    """What one step of training needs, on the device."""

    inputs: Tensor
    """(B, 1, X, Y, Z) in [0, 1]: what the network sees."""
    targets: Tensor
    """(B, 1, X, Y, Z) in [0, 1]: what it should restore."""
    labels: Tensor
    """(B,) int64: pseudo-labels, 0 where there are none."""
    answers: dict[str, Tensor] = field(default_factory=dict)
    """Whatever else the losses ask for, by name, each (B, ...): how an image was turned, say."""


@dataclass(frozen=True)
class Losses:
    """What one batch cost."""

    terms: dict[str, Tensor]
    """Unweighted scalar means over the batch, by name."""
    measures: dict[str, Tensor] = field(default_factory=dict)
    """Other scalar means worth a curve, such as accuracy."""


class Method(ABC):
    """A pretraining method.

    Args:
        config: its own settings.
        classes: how many pseudo-labels there are, for a method that uses patterns; else 0.
    """

    def __init__(self, config: Any, classes: int = 0) -> None:
        self.config: Any = config
        self.classes = classes

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the network to pretrain; its weights are drawn afterwards, from the pretraining seed."""

    def prepare_network(self, network: nn.Module, read_weights: ReadWeights) -> str:
        """Change the weights of a freshly drawn `network` before any training; most methods change nothing.

        Args:
            network: as `network` returns it, with random weights.
            read_weights: reads published weights.

        Returns:
            What was loaded, in one line for the record; "" if nothing was.
        """
        return ""

    @abstractmethod
    def sampling(self) -> PretrainingSampling:
        """Return what the method pretrains on."""

    def stages(self) -> list[Stage]:
        """Return the optimisations, in order."""
        return [Stage(name="pretrain", training=self.config.training, weights={"restoration": 1.0})]

    def sample_params(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return one sample's random parameters, from `rng` alone; arrays of the same shapes for every sample."""
        return {}

    @abstractmethod
    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the batch made of clean `images` (B, 1, X, Y, Z): a pure function of its arguments."""

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Run `network` on the batch and return the terms that `stage` weighs."""

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return what `network` restores of `inputs`, (B, 1, X, Y, Z) in [0, 1], or None if it restores nothing."""
        return None

    def backbone(self, network: nn.Module) -> Backbone:
        """Return the part of `network` that is handed over: the network itself, or the one backbone inside it.

        Raises:
            MethodError: there is none, or there are several.
        """
        if isinstance(network, Backbone):
            return network
        found = [module for module in network.modules() if isinstance(module, Backbone)]
        if len(found) != 1:
            raise MethodError(
                f"{type(self).__name__}: its network has {len(found)} backbones where it should have one",
                hint="Say which part is handed over: define the method's backbone(network)",
            )
        return found[0]

    def coarsest(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the encoder's coarsest map of what `losses` shows it, and run nothing else.

        It is (n * B, C, ...): where an image is seen in n pieces, they follow each other image by image.
        """
        return self.backbone(network).features(batch.inputs)[-1]

    def initialisation(self, network: nn.Module) -> tuple[StateDict, StateDict]:
        """Return the encoder's and the decoder's tensors; the decoder's are empty if it was not trained."""
        return split_state(self.backbone(network).state_dict())


class Restoration(Method):
    """A method that corrupts images and learns to restore them: mean squared error to the target."""

    def network(self) -> nn.Module:
        """Return the papers' U-Net, in two or three dimensions."""
        return unet(self.config.dimension, self.config.width)

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return the network's output."""
        out: Tensor = network(inputs)
        return out

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the restoration's mean squared error."""
        restored = network(batch.inputs)
        return Losses({"restoration": nn.functional.mse_loss(restored.float(), batch.targets)})
