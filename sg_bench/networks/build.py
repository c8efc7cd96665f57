"""Networks by purpose, so that methods and tasks are independent of the network that a suite chooses."""

from __future__ import annotations

from typing import Literal

from sg_bench.networks.backbone import Backbone, UNet, YNet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.heads import Classifier, LightSegmenter, Regressor, Segmenter, TaskModel
from sg_bench.registry import NETWORKS


def encoder(network: NetworkChoice) -> Backbone:
    """Return the encoder of a network."""
    return _class(network).build(network.config)


def unet(network: NetworkChoice, out_channels: int = 1, *, skips: bool = True) -> UNet:
    """Return the encoder of a network with its decoder; without `skips` the decoder gets the coarsest map alone."""
    return _class(network).build_unet(network.config, out_channels, skips=skips)


def ynet(network: NetworkChoice, classes: int) -> YNet:
    """Return the U-Net with a head that classifies `classes` patterns."""
    return _class(network).build_ynet(network.config, classes)


def task_model(
    network: NetworkChoice,
    kind: Literal["classification", "segmentation", "regression"],
    outputs: int = 1,
    *,
    frozen: bool = False,
    hidden: bool | None = None,
) -> TaskModel:
    """Return the network of a target task; its `backbone` is an encoder or a U-Net.

    Args:
        network: of the initialisation, in the dimension of the task.
        kind: classification of images, a value of theirs, or segmentation of their voxels.
        outputs: number of logits per image or voxel.
        frozen: freeze the encoder, and train only a linear layer or a light decoder on its maps.
        hidden: for classification and regression, add a hidden layer; None adds it as published, in 3D unless frozen.
    """
    if kind != "segmentation":
        deep = network.config.dimension == 3 and not frozen if hidden is None else hidden
        if kind == "regression":
            return Regressor(encoder(network), hidden=deep, frozen=frozen)
        return Classifier(encoder(network), outputs, hidden=deep, frozen=frozen)
    if frozen:
        return LightSegmenter(encoder(network), outputs)
    return Segmenter(unet(network, outputs))


def _class(network: NetworkChoice) -> type[Backbone]:
    found: type[Backbone] = NETWORKS.load(network.name)
    return found
