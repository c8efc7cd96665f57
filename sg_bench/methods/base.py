"""The contract of a pretraining method, which is independent of Ray, files, tasks and tables.

A plugin subclasses `Method`, or `Restoration` if it corrupts images and restores them, and implements the batch and
the losses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
    """(B, C, X, Y, Z) in [0, 1]: the network's input, or the first view of each image."""
    targets: Tensor
    """(B, C, X, Y, Z) in [0, 1]: the images to restore."""
    labels: Tensor
    """(B,) int64: pseudo-labels, 0 if there are none."""
    answers: dict[str, Tensor] = field(default_factory=dict)
    """Further targets of the losses by name, each (B, ...), such as the rotation applied to each image."""
    views: tuple[Tensor, ...] = ()
    """Further views of each image, each (B, C, X, Y, Z) in [0, 1]; their sizes can differ."""
    indices: Tensor | None = None
    """(B,) int64: index of each sample among the training or validation cubes; `Pretraining` fills it in."""
    cases: Tensor | None = None
    """(B,) int64: the case that each sample is of, as an index into `Method.case_ids`; `Pretraining` fills it in."""


@dataclass(frozen=True)
class Losses:
    """The losses of one batch."""

    terms: dict[str, Tensor]
    """Unweighted scalar means over the batch, by name."""
    measures: dict[str, Tensor] = field(default_factory=dict)
    """Further scalar means for the curves, such as accuracy; they are not optimised."""
    carried: dict[str, Tensor] = field(default_factory=dict)
    """What `after_step` needs of this batch, such as the keys of a queue; without gradients."""


@dataclass(frozen=True)
class Promise:
    """What training improves: how the conformance kit judges whether a method learns."""

    of: Literal["loss", "measure", "probe"] = "loss"
    """loss: that of each stage falls on one repeated batch; measure: one of `Losses.measures` rises in a training;
    probe: in the encoder's features, views of one image become more alike than those of different images. The last two
    are for losses that may rise, such as those with a queue or a teacher."""
    measure: str = ""
    """Name of the measure."""


class Ranks(Protocol):
    """The processes that share a training, as far as a method needs them (`training.World`)."""

    def gather(self, own: Tensor) -> Tensor:
        """Return the tensors (B, ...) of all processes, one after the other, with gradients."""


class Method(ABC):
    """A pretraining method.

    Args:
        config: the method's settings.
        classes: number of pseudo-labels for a method that uses patterns, else 0.
    """

    mean_over_samples: bool = False
    """Whether each term of the losses is the mean of terms of single samples, if batch norm is left aside. A batch can
    then be computed in parts. False for a contrastive loss, which compares the samples of a batch."""
    promise: Promise = Promise()
    """What training improves. With another promise than a falling loss, the last weights are kept instead of those with
    the lowest validation loss, and training does not end early."""
    images_per_sample: int = 1
    """Images of each sample. If more than one, `make_batch` gets (B, images, C, X, Y, Z): the sample's own image first,
    whose labels and case the batch holds, then others drawn at random."""
    from_one_case: bool = True
    """Whether all images of a sample are cut from one case."""
    world: Ranks | None = None
    """The processes that share the training; set by `join`."""
    case_ids: Sequence[str] = ()
    """Ids of the cases that `Batch.cases` refers to; set by `join`."""

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

    def new_unet(self, out_channels: int | None = None, *, skips: bool = True) -> UNet:
        """Return the chosen network with its decoder, by default with as many output channels as images have.

        Without `skips` the decoder gets the coarsest map alone.
        """
        chosen = self.config.chosen_network
        return unet(chosen, out_channels or chosen.config.in_channels, skips=skips)

    def new_ynet(self) -> YNet:
        """Return the chosen network with its decoder and a head that classifies the pseudo-labels."""
        return ynet(self.config.chosen_network, self.classes)

    @property
    def multiple(self) -> Shape:
        """Return what each side of an image that enters the network must be a multiple of."""
        multiple: Shape = self.config.chosen_network.config.multiple
        return multiple

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
        """Return a batch from clean `images` (B, C, X, Y, Z); a pure function of its arguments."""

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Run `network` on the batch and return the loss terms that `stage` weights.

        Besides the running statistics of batch norm it changes nothing: a step that lacks memory is computed again.
        """

    def join(self, world: Ranks, case_ids: Sequence[str]) -> None:
        """Take part in a training of these processes on these cases."""
        self.world, self.case_ids = world, case_ids

    def gathered(self, network: nn.Module, own: Tensor) -> Tensor:
        """Return `own` (B, ...) of the complete batch: of all processes, one after the other, with gradients.

        Every process computes the loss of the complete batch from it, and all get its gradient. In evaluation it is
        `own`: there, the method of a loss that compares samples gets complete batches on every process.
        """
        return self.world.gather(own) if self.world is not None and network.training else own

    def after_initialisation(self, network: nn.Module) -> None:  # noqa: B027 - most methods have none
        """Change `network` once its initial weights are in place, as to copy them into a teacher; draw nothing."""

    def after_step(  # noqa: B027 - most methods have none
        self, network: nn.Module, step: int, steps: int, carried: dict[str, Tensor]
    ) -> None:
        """Change `network` after a step of the optimiser, as a teacher, a queue or a schedule needs it.

        What changes must be a parameter or a buffer of the network, so that checkpoints hold it. It is called
        without gradients, by every process with the same values.

        Args:
            network: the network that is trained.
            step: number of steps taken in the current stage, from 1.
            steps: most steps of the stage; it can end before.
            carried: of the batch's `Losses`.
        """

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return `inputs` as `network` restores them, (B, C, X, Y, Z) in [0, 1], or None if it restores nothing."""
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
