"""Networks by purpose, in two or three dimensions, so that methods and tasks are independent of the architecture."""

from __future__ import annotations

from typing import Literal

from sg_bench.config import SpatialDims
from sg_bench.networks.backbone import Backbone, UNet, YNet
from sg_bench.networks.heads import Classifier, LightSegmenter, Segmenter, TaskModel
from sg_bench.networks.published.resnet3d import MedicalNet, MedicalNetUNet
from sg_bench.networks.resnet import Encoder2D, UNet2D, YNet2D
from sg_bench.networks.unet import Encoder3D, UNet3D, YNet3D

MEDICALNET = "medicalnet"
"""Prefix of the names of MedicalNet's architectures; the depth follows."""


def encoder(dimension: SpatialDims, width: int) -> Backbone:
    """Return the papers' encoder: that of the 3D U-Net, or ResNet-18 in 2D."""
    return Encoder3D(width) if dimension == 3 else Encoder2D(width)


def unet(dimension: SpatialDims, width: int, out_channels: int = 1, *, skips: bool = True) -> UNet:
    """Return the papers' encoder with its decoder."""
    if dimension == 3:
        return UNet3D(width, out_channels=out_channels, skips=skips)
    return UNet2D(width, out_channels, skips=skips)


def ynet(dimension: SpatialDims, width: int, classes: int) -> YNet:
    """Return the U-Net with a head that classifies `classes` patterns."""
    return YNet3D(width, classes) if dimension == 3 else YNet2D(width, classes)


def task_model(
    dimension: SpatialDims,
    kind: Literal["classification", "segmentation"],
    width: int,
    outputs: int = 1,
    *,
    frozen: bool = False,
    hidden: bool | None = None,
    architecture: str = "",
) -> TaskModel:
    """Return the network of a target task; its `backbone` is an encoder or a U-Net.

    Args:
        dimension: 2 for films and slices, 3 for volumes.
        kind: classification of images, or segmentation of their voxels.
        width: channels of the first convolution; 32 is the papers' network.
        outputs: number of logits per image or voxel.
        frozen: freeze the encoder, and train only a linear layer or a light decoder on its maps.
        hidden: for classification, add a hidden layer; None adds it as published, in 3D unless frozen.
        architecture: of published weights; only MedicalNet's ("medicalnet18") differs from the papers', and it ignores
            `width`.
    """
    depth = int(architecture.removeprefix(MEDICALNET)) if architecture.startswith(MEDICALNET) else 0
    if kind == "classification":
        deep = dimension == 3 and not frozen if hidden is None else hidden
        bare = MedicalNet(depth) if depth else encoder(dimension, width)
        return Classifier(bare, outputs, hidden=deep, frozen=frozen)
    if frozen:
        return LightSegmenter(MedicalNet(depth) if depth else encoder(dimension, width), outputs)
    return Segmenter(MedicalNetUNet(depth, outputs) if depth else unet(dimension, width, outputs))
