"""Encoders, U-Nets and task heads, and their weights on disk. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.networks.backbone import Backbone, PatternHead, SegmentationBackbone, UNet, YNet
    from sg_bench.networks.build import task_model
    from sg_bench.networks.configs import NetworkChoice, NetworkConfig, papers_network
    from sg_bench.networks.decoder import UNetDecoder
    from sg_bench.networks.heads import Classifier, LightSegmenter, Segmenter, TaskModel
    from sg_bench.networks.published.fitting import read_into
    from sg_bench.networks.published.resnet3d import MedicalNet, MedicalNetUNet
    from sg_bench.networks.resnet import Encoder2D, UNet2D, YNet2D
    from sg_bench.networks.unet import Encoder3D, UNet3D, YNet3D
    from sg_bench.networks.weights import (
        LoadReport,
        StateDict,
        load_initialisation,
        load_into,
        save_initialisation,
        split_state,
    )

__all__ = [
    "Backbone",
    "Classifier",
    "Encoder2D",
    "Encoder3D",
    "LightSegmenter",
    "LoadReport",
    "MedicalNet",
    "MedicalNetUNet",
    "NetworkChoice",
    "NetworkConfig",
    "PatternHead",
    "SegmentationBackbone",
    "Segmenter",
    "StateDict",
    "TaskModel",
    "UNet",
    "UNet2D",
    "UNet3D",
    "UNetDecoder",
    "YNet",
    "YNet2D",
    "YNet3D",
    "load_initialisation",
    "load_into",
    "papers_network",
    "read_into",
    "save_initialisation",
    "split_state",
    "task_model",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Backbone", "PatternHead", "SegmentationBackbone", "UNet", "YNet"), "backbone"),
        "task_model": "build",
        **dict.fromkeys(("NetworkChoice", "NetworkConfig", "papers_network"), "configs"),
        "UNetDecoder": "decoder",
        **dict.fromkeys(("Classifier", "LightSegmenter", "Segmenter", "TaskModel"), "heads"),
        "read_into": "published.fitting",
        **dict.fromkeys(("MedicalNet", "MedicalNetUNet"), "published.resnet3d"),
        **dict.fromkeys(("Encoder2D", "UNet2D", "YNet2D"), "resnet"),
        **dict.fromkeys(("Encoder3D", "UNet3D", "YNet3D"), "unet"),
        **dict.fromkeys(
            ("LoadReport", "StateDict", "load_initialisation", "load_into", "save_initialisation", "split_state"),
            "weights",
        ),
    },
)
