"""The papers' add-on "+ semantics": classify self-discovered patterns in addition to a method's own losses.

Source: Haghighi et al., arXiv:2007.06959, section 2.2 (self-classification) and 3.2 ("+ semantics"); weights and stages
in protocol C.3 and C.12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage, Training
from sg_bench.errors import MethodError
from sg_bench.methods.base import Batch, Losses, Method, Patterns, PretrainingSampling, Ranks, ReadWeights
from sg_bench.methods.configs import SemanticsConfig
from sg_bench.networks.backbone import Backbone, PatternHead, YNet
from sg_bench.networks.weights import StateDict
from sg_bench.transforms.base import Params
from sg_bench.transforms.streams import RandomStreams

WARM_UP = "warm-up"


class WithPatternHead(nn.Module):
    """A method's own network with a pattern head on the coarsest map of its encoder.

    Args:
        base: the method's network.
        backbone_of: returns the backbone in it.
        classes: number of patterns.
    """

    def __init__(self, base: nn.Module, backbone_of: Callable[[nn.Module], Backbone], classes: int) -> None:
        super().__init__()
        self.base, self.backbone_of = base, backbone_of
        backbone = backbone_of(base)
        self.clc_out = PatternHead(backbone.channels[-1], classes, backbone.dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Run the complete network on images (B, 1, X, Y, Z) and return the pattern logits (B, classes)."""
        with coarsest_maps(self.backbone_of(self.base)) as maps:
            self.base(x)
        return self.classify(maps, len(x))

    def classify(self, maps: Sequence[Tensor], images: int) -> Tensor:
        """Return the logits (images, classes) of the first of `maps`, averaged over the pieces of each image.

        Raises:
            MethodError: there is no map, or its rows are not a multiple of the number of images.
        """
        if not maps or len(maps[0]) % images:
            rows = len(maps[0]) if maps else 0
            raise MethodError(
                f"semantics: the encoder returned {rows} maps for {images} images",
                hint="In losses(), run features() of the backbone once, on the same number of pieces of every image",
            )
        logits: Tensor = self.clc_out(maps[0])
        return logits.view(images, -1, logits.shape[1]).mean(1)


class WithSemantics(Method):
    """A method that is trained on the self-discovered cubes and also classifies their patterns.

    The method's terms keep their weights, times `weight_restoration`, and its optimiser.
    """

    base_class: ClassVar[type[Method]]
    """The method, set by each subclass."""

    def __init__(self, config: Any, classes: int) -> None:
        super().__init__(config, classes)
        self.base = self.base_class(config, 0)
        self.mean_over_samples = self.base.mean_over_samples
        self.promise = self.base.promise
        self.images_per_sample, self.from_one_case = self.base.images_per_sample, self.base.from_one_case

    def network(self) -> nn.Module:
        """Return the method's network with a pattern head."""
        return WithPatternHead(self.base.network(), self.base.backbone, self.classes)

    def prepare_network(self, network: nn.Module, read_weights: ReadWeights) -> str:
        """Prepare the method's own network."""
        return self.base.prepare_network(_own(network), read_weights)

    def backbone(self, network: nn.Module) -> Backbone:
        """Return the method's own backbone."""
        return self.base.backbone(_own(network))

    def sampling(self) -> PretrainingSampling:
        """Return the self-discovered patterns."""
        return Patterns(permuted=self.config.semantics.labels == "random")

    def stages(self) -> list[Stage]:
        """Return the classification's warm-up, then the method's own stages with the classification added."""
        return with_warm_up(self.base.stages(), self.config.semantics)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the method's own parameters."""
        return self.base.sample_params(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the method's own batch, with the cubes' pseudo-labels as the answer "patterns"."""
        batch = self.base.make_batch(images, labels, params)
        return replace(batch, answers={**batch.answers, "patterns": labels})

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the method's own terms and the classification's; the encoder runs once for both."""
        assert isinstance(network, WithPatternHead)
        labels = batch.answers["patterns"]
        if stage.name == WARM_UP:
            maps, own = [self.base.coarsest(network.base, batch)], Losses({}, carried={WARM_UP: labels})
        else:
            with coarsest_maps(self.backbone(network)) as maps:
                own = self.base.losses(network.base, batch, stage)
        classified = classification_losses(network.classify(maps, len(labels)), labels)
        return Losses({**own.terms, **classified.terms}, {**own.measures, **classified.measures}, own.carried)

    def join(self, world: Ranks, case_ids: Sequence[str]) -> None:
        """Let the method take part."""
        super().join(world, case_ids)
        self.base.join(world, case_ids)

    def after_initialisation(self, network: nn.Module) -> None:
        """Let the method change its own network."""
        self.base.after_initialisation(_own(network))

    def after_step(self, network: nn.Module, step: int, steps: int, carried: dict[str, Tensor]) -> None:
        """Let the method change its own network. In the warm-up its own training has not begun, so it starts anew."""
        if WARM_UP in carried:
            self.base.after_initialisation(_own(network))
        else:
            self.base.after_step(_own(network), step, steps, carried)

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return what the method itself restores."""
        return self.base.restored(_own(network), inputs)

    def initialisation(self, network: nn.Module) -> tuple[StateDict, StateDict]:
        """Return the method's own tensors, without the head."""
        return self.base.initialisation(_own(network))


@cache
def with_semantics(base: type[Method]) -> type[Method]:
    """Return the method `base` with the add-on."""
    attributes = {"base_class": base, "__doc__": base.__doc__, "__module__": base.__module__}
    return type(f"{base.__name__}WithSemantics", (WithSemantics,), attributes)


@contextmanager
def coarsest_maps(backbone: Backbone) -> Iterator[list[Tensor]]:
    """Collect the coarsest map of each run of `backbone.features` in the block."""
    collected: list[Tensor] = []
    with backbone.register_features_hook(lambda maps: collected.append(maps[-1])):
        yield collected


def semantic_stages(training: Training, semantics: SemanticsConfig) -> list[Stage]:
    """Return the warm-up, which trains encoder and head to classify, and the joint training after it."""
    return with_warm_up([Stage(name="joint", training=training, weights={"restoration": 1.0})], semantics)


def with_warm_up(stages: Sequence[Stage], semantics: SemanticsConfig) -> list[Stage]:
    """Return a method's stages with the classification added, after a warm-up that trains the classification alone.

    The warm-up's epochs are taken from the first stage, so that the total number of epochs does not change. If there is
    a single stage, it is called "joint".
    """
    out: list[Stage] = []
    for stage in stages:
        training, name = stage.training, "joint" if len(stages) == 1 else stage.name
        if not out:
            warm_up = min(semantics.warm_up_epochs, training.epochs)
            first = training.model_copy(update={"epochs": warm_up, "patience": None})
            out.append(Stage(name=WARM_UP, training=first, weights={"classification": 1.0}))
            training = training.model_copy(update={"epochs": training.epochs - warm_up})
        weights = {term: semantics.weight_restoration * weight for term, weight in stage.weights.items()}
        weights["classification"] = semantics.weight_classification
        out.append(Stage(name=name, training=training, weights=weights))
    return [stage for stage in out if stage.training.epochs]


def semantic_losses(network: nn.Module, batch: Batch, stage: Stage) -> Losses:
    """Return the stage's losses: restoration (mean squared error) and classification (cross-entropy of logits).

    `network` is a `YNet`; its decoder runs only if the stage weights restoration.
    """
    assert isinstance(network, YNet)
    terms = {}
    if "restoration" in stage.weights:
        restored, logits = network(batch.inputs)
        terms["restoration"] = nn.functional.mse_loss(restored.float(), batch.targets)
    else:
        logits = network.classify(batch.inputs)
    classified = classification_losses(logits, batch.labels)
    return Losses({**terms, **classified.terms}, classified.measures)


def classification_losses(logits: Tensor, labels: Tensor) -> Losses:
    """Return the cross-entropy of the pattern logits (B, classes), and their accuracy."""
    accuracy = (logits.argmax(dim=1) == labels).to(torch.float32).mean()
    return Losses({"classification": nn.functional.cross_entropy(logits.float(), labels)}, {"accuracy": accuracy})


def _own(network: nn.Module) -> nn.Module:
    assert isinstance(network, WithPatternHead)
    return network.base
