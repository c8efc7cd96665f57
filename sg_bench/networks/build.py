"""The networks by what they are for, in two or three dimensions: methods and tasks need not know which."""

from __future__ import annotations

from typing import Literal

from sg_bench.networks.backbone import Backbone, Dimension, UNet, YNet
from sg_bench.networks.heads import Classifier, LightSegmenter, Segmenter, TaskModel
from sg_bench.networks.resnet import Encoder2D, UNet2D, YNet2D
from sg_bench.networks.unet import Encoder3D, UNet3D, YNet3D


def encoder(dimension: Dimension, width: int) -> Backbone:
    """Return the papers' encoder alone: of the 3D U-Net, or ResNet-18."""
    return Encoder3D(width) if dimension == 3 else Encoder2D(width)


def unet(dimension: Dimension, width: int, out_channels: int = 1, *, skips: bool = True) -> UNet:
    """Return the papers' encoder with its decoder."""
    if dimension == 3:
        return UNet3D(width, out_channels=out_channels, skips=skips)
    return UNet2D(width, out_channels, skips=skips)


def ynet(dimension: Dimension, width: int, classes: int) -> YNet:
    """Return the U-Net with a head that tells `classes` patterns apart."""
    return YNet3D(width, classes) if dimension == 3 else YNet2D(width, classes)


def task_model(
    dimension: Dimension,
    kind: Literal["classification", "segmentation"],
    width: int,
    outputs: int = 1,
    *,
    frozen: bool = False,
    hidden: bool | None = None,
) -> TaskModel:
    """Return the network of a target task, on an encoder or a U-Net that is its `backbone`.

    Args:
        dimension: 2 for films and slices, 3 for volumes.
        kind: what the task tells: of a whole image, or of each of its voxels.
        width: 32 is the papers'.
        outputs: logits of an image, or of a voxel.
        frozen: leave the encoder as it was pretrained, and train a linear layer, or a light decoder, on its maps.
        hidden: classification: whether a hidden layer stands before the last one; None: as published, in 3D and
            unless frozen.
    """
    if kind == "classification":
        deep = dimension == 3 and not frozen if hidden is None else hidden
        return Classifier(encoder(dimension, width), outputs, hidden=deep, frozen=frozen)
    if frozen:
        return LightSegmenter(encoder(dimension, width), outputs)
    return Segmenter(unet(dimension, width, outputs))
