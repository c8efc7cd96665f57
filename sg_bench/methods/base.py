"""The contract of a pretraining method, which is independent of Ray, files, tasks and tables.

A plugin subclasses `Method`, or `Restoration` if it corrupts images and restores them, and implements the batch and
the losses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from sg_bench.config import CropRule, Shape, Stage
from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone, UNet, YNet
from sg_bench.networks.build import encoder, unet, ynet
from sg_bench.networks.weights import StateDict, split_state
from sg_bench.transforms.base import Params
from sg_bench.transforms.streams import RandomStreams

ReadWeights = Callable[[str, str], StateDict]
"""Returns the tensors of published weights, given their name in the catalogue and the SHA-256 of their file."""


@dataclass(frozen=True)
class Crops:
    """Pretrain on random cubes of every volume."""

    rule: CropRule
    per_volume: int
    """Cubes of each volume."""


@dataclass(frozen=True)
class WholeVolumes:
    """Pretrain on whole volumes, each resized to one shape."""

    shape: Shape


@dataclass(frozen=True)
class Patterns:
    """Pretrain on the self-discovered cubes, with their pseudo-labels."""

    permuted: bool = False
    """Shuffle the pseudo-labels among the training cubes: a control without any discovered structure."""


PretrainingSampling = Crops | WholeVolumes | Patterns


@dataclass(frozen=True)
class Batch:
    """The data of one training step, on the device."""

    inputs: Tensor
    """(B, 1, X, Y, Z) in [0, 1]: the network's input."""
    targets: Tensor
    """(B, 1, X, Y, Z) in [0, 1]: the images to restore."""
    labels: Tensor
    """(B,) int64: pseudo-labels, 0 if there are none."""
    answers: dict[str, Tensor] = field(default_factory=dict)
    """Further targets of the losses by name, each (B, ...), such as the rotation applied to each image."""


@dataclass(frozen=True)
class Losses:
    """The losses of one batch."""

    terms: dict[str, Tensor]
    """Unweighted scalar means over the batch, by name."""
    measures: dict[str, Tensor] = field(default_factory=dict)
    """Further scalar means for the curves, such as accuracy; they are not optimised."""


class Method(ABC):
    """A pretraining method.

    Args:
        config: the method's settings.
        classes: number of pseudo-labels for a method that uses patterns, else 0.
    """

    mean_over_samples: bool = False
    """Whether each term of the losses is the mean of terms of single samples, if batch norm is left aside. A batch can
    then be computed in parts. False for a contrastive loss, which compares the samples of a batch."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "losses" in cls.__dict__ and "mean_over_samples" not in cls.__dict__:
            cls.mean_over_samples = False  # what a base class declares is about its own losses

    def __init__(self, config: Any, classes: int = 0) -> None:
        self.config: Any = config
        self.classes = classes

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the network to pretrain; its weights are drawn afterwards from the pretraining seed.

        `new_encoder`, `new_unet` and `new_ynet` return that of the suite's network.
        """

    def new_encoder(self) -> Backbone:
        """Return the encoder of the network that the suite chose, by default the papers'."""
        return encoder(self.config.chosen_network)

    def new_unet(self, out_channels: int = 1, *, skips: bool = True) -> UNet:
        """Return the chosen network with its decoder; without `skips` that gets the coarsest map alone."""
        return unet(self.config.chosen_network, out_channels, skips=skips)

    def new_ynet(self) -> YNet:
        """Return the chosen network with its decoder and a head that classifies the pseudo-labels."""
        return ynet(self.config.chosen_network, self.classes)

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
        """Return the kind of training data."""

    def stages(self) -> list[Stage]:
        """Return the stages of training, in order."""
        return [Stage(name="pretrain", training=self.config.training, weights={"restoration": 1.0})]

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the random parameters of a batch, (B, ...), each sample's drawn from its own stream."""
        return {}

    @abstractmethod
    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return a batch from clean `images` (B, 1, X, Y, Z); a pure function of its arguments."""

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Run `network` on the batch and return the loss terms that `stage` weights."""

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return `inputs` as `network` restores them, (B, 1, X, Y, Z) in [0, 1], or None if it restores nothing."""
        return None

    def backbone(self, network: nn.Module) -> Backbone:
        """Return the part of `network` that target tasks start from: the network itself, or its only backbone.

        Raises:
            MethodError: the network contains no backbone, or several.
        """
        if isinstance(network, Backbone):
            return network
        found = [module for module in network.modules() if isinstance(module, Backbone)]
        if len(found) != 1:
            raise MethodError(
                f"{type(self).__name__}: its network has {len(found)} backbones, expected one",
                hint="Define the method's backbone(network) to choose the part that tasks start from",
            )
        return found[0]

    def coarsest(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the encoder's coarsest map of the inputs that `losses` uses, without running anything else.

        Its shape is (n * B, C, ...) if each image enters the encoder as n pieces, grouped by image; else (B, C, ...).
        """
        return self.backbone(network).features(batch.inputs)[-1]

    def initialisation(self, network: nn.Module) -> tuple[StateDict, StateDict]:
        """Return the encoder's and the decoder's tensors; the latter are empty if no decoder was trained."""
        return split_state(self.backbone(network))


class Restoration(Method):
    """A method that corrupts images and learns to restore them; mean squared error."""

    mean_over_samples = True

    def network(self) -> nn.Module:
        """Return the chosen network with its decoder, by default the papers' U-Net."""
        return self.new_unet()

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return the network's output."""
        out: Tensor = network(inputs)
        return out

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the mean squared error of the restored images."""
        restored = network(batch.inputs)
        return Losses({"restoration": nn.functional.mse_loss(restored.float(), batch.targets)})
