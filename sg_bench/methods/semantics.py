"""The papers' add-on: tell self-discovered patterns apart, beside whatever the method does already.

Source: Haghighi et al., arXiv:2007.06959, section 2.2 (self-classification); weights and stages in protocol C.3.
"""

from __future__ import annotations

import torch
from torch import nn

from sg_bench.methods.base import Batch, Losses
from sg_bench.methods.configs import SemanticsConfig
from sg_bench.networks.backbone import YNet
from sg_bench.recipes import Stage, Training


def semantic_stages(training: Training, semantics: SemanticsConfig) -> list[Stage]:
    """Return the warm-up, in which encoder and head learn to classify, and the joint training after it.

    The warm-up's epochs are taken from `training.epochs`, so that a method with it is given no longer than one
    without.
    """
    warm_up = min(semantics.warm_up_epochs, training.epochs)
    first = training.model_copy(update={"epochs": warm_up, "patience": None})
    rest = training.model_copy(update={"epochs": training.epochs - warm_up})
    joint = {"restoration": semantics.weight_restoration, "classification": semantics.weight_classification}
    stages = [
        Stage(name="warm-up", training=first, weights={"classification": 1.0}),
        Stage(name="joint", training=rest, weights=joint),
    ]
    return [stage for stage in stages if stage.training.epochs]


def semantic_losses(network: nn.Module, batch: Batch, stage: Stage) -> Losses:
    """Return restoration (mean squared error) and classification (cross-entropy of logits) as the stage weighs them.

    `network` is a `YNet`; without restoration its decoder does not run.
    """
    assert isinstance(network, YNet)
    terms = {}
    if "restoration" in stage.weights:
        restored, logits = network(batch.inputs)
        terms["restoration"] = nn.functional.mse_loss(restored.float(), batch.targets)
    else:
        logits = network.classify(batch.inputs)
    terms["classification"] = nn.functional.cross_entropy(logits.float(), batch.labels)
    accuracy = (logits.argmax(dim=1) == batch.labels).to(torch.float32).mean()
    return Losses(terms, {"accuracy": accuracy})
