"""Methods that each break one promise, to see whether the kit finds out which."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sg_bench.config import CropRule, Shape, Stage
from sg_bench.methods import Batch, Crops, Losses, Params, PretrainingSampling, Promise, Restoration
from sg_bench.methods.configs import MethodConfig
from sg_bench.networks.backbone import UNet
from sg_bench.networks.weights import StateDict
from sg_bench.transforms.base import spatial_shape, uniform_noise
from sg_bench.transforms.streams import RandomStreams


class Sound(Restoration):
    """Breaks nothing: what the others are made of."""

    def sampling(self) -> PretrainingSampling:
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        return {"seed": random.seeds()}

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        noise = 0.4 * uniform_noise(params["seed"], spatial_shape(images)).to(images.device) - 0.2
        return Batch((images + noise).clamp(0, 1), images, labels)


class TouchesGlobalRandomness(Sound):
    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        torch.manual_seed(0)
        return super().make_batch(images, labels, params)


class ChangesItsImages(Sound):
    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        batch = super().make_batch(images, labels, params)
        images.clamp_(0.2, 0.6)
        return batch


class IsNotDeterministic(Sound):
    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        generator = torch.Generator()
        generator.seed()
        batch = super().make_batch(images, labels, params)
        return Batch(torch.rand(images.shape, generator=generator), batch.targets, labels)


class ExportsTooLittle(Sound):
    def initialisation(self, network: nn.Module) -> tuple[StateDict, StateDict]:
        encoder, decoder = super().initialisation(network)
        return dict(list(encoder.items())[:-3]), decoder


class ExportsWhatItDidNotTrain(Sound):
    def initialisation(self, network: nn.Module) -> tuple[StateDict, StateDict]:
        return {name: torch.zeros_like(tensor) for name, tensor in super().initialisation(network)[0].items()}, {}


class LosesItself(Sound):
    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        terms = super().losses(network, batch, stage).terms
        return Losses({name: term * float("nan") for name, term in terms.items()})


class LearnsNothing(Sound):
    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        terms = super().losses(network, batch, stage).terms
        return Losses({name: 1 + 0 * term for name, term in terms.items()})


class ComparesItsSamples(Sound):
    mean_over_samples = True

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        terms, spread = super().losses(network, batch, stage).terms, network(batch.inputs).std(0, correction=0).mean()
        return Losses({name: term + spread for name, term in terms.items()})


class LeavesTheRange(Sound):
    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        batch = super().make_batch(images, labels, params)
        return Batch(batch.inputs - 0.5, batch.targets, labels)


class RestoresLogits(Sound):
    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        return 1000 * network(inputs)


class MixesItsSamples(Sound):
    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        batch = super().make_batch(images, labels, params)
        return Batch((batch.inputs + batch.inputs.mean(0)) / 2, batch.targets, labels)


class IgnoresItsSeed(Sound):
    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        return {"seed": np.ones(len(random), np.int64)}


class RemembersItsSteps(Sound):
    """Keeps the number of its steps outside the network, so a checkpoint lacks it."""

    steps = 0

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        self.steps += torch.is_grad_enabled()
        return Losses({"restoration": super().losses(network, batch, stage).terms["restoration"] / (1 + self.steps)})


class WithCounter(Sound):
    """Has a number in its network that is not exported."""

    def network(self) -> nn.Module:
        network = super().network()
        network.clc_out = nn.Linear(1, 1)
        return network


class CountsInItsLosses(WithCounter):
    """Counts its steps where they are computed, which may happen twice, and not after them."""

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        with torch.no_grad():
            network.get_parameter("clc_out.bias").add_(network.training)
        return super().losses(network, batch, stage)


class DrawsAfterItsSteps(WithCounter):
    """Changes the network by what an unseeded generator draws."""

    def after_step(self, network: nn.Module, step: int, steps: int, carried: dict[str, Tensor]) -> None:
        network.get_parameter("clc_out.bias").fill_(np.random.default_rng().random())


class PromisesAMeasure(Sound):
    promise = Promise("measure", "certainty")

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        return Losses(super().losses(network, batch, stage).terms, {"certainty": torch.ones(())})


class PromisesAProbe(Sound):
    """Has no views that could become more alike."""

    promise = Promise("probe")


class LearnsNothingFromItsViews(Sound):
    """Has views, and an encoder that no loss changes."""

    promise = Promise("probe")

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        one, other = (Sound.make_batch(self, images, labels, {"seed": params["seed"] + view}) for view in (0, 1))
        return Batch(one.inputs, images, labels, views=(other.inputs,))

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the error of what the decoder alone makes of the maps."""
        assert isinstance(network, UNet)
        maps = [each.detach() for each in network.features(batch.inputs)]
        return Losses({"restoration": (network.decode(maps).sigmoid() - batch.targets).square().mean()})


class FailsAtWork(Sound):
    """Is asked what it samples only where it is pretrained in earnest."""

    def sampling(self) -> PretrainingSampling:
        raise RuntimeError("nothing has been prepared")


class HeavyConfig(MethodConfig):
    """Stands beside what imports torch."""

    crops: CropRule = CropRule()
    per_volume: int = 32
