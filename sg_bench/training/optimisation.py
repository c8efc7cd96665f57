"""The optimiser and the learning rate schedule of a stage."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sg_bench.config import Training


def make_optimiser(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return SGD, Adam or AdamW over the parameters of a network that are trained; on a GPU Adam is fused."""
    settings = training.optimiser
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    fused = all(parameter.is_cuda for parameter in parameters)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(
        parameters,
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=fused or None,
    )


def changes_by_step(training: Training) -> bool:
    """Return whether the learning rate changes after every step instead of every epoch."""
    return training.schedule.name == "cosine" and training.steps is not None


def make_schedule(optimiser: torch.optim.Optimizer, training: Training, steps: int) -> Any:
    """Return a schedule of PyTorch, or None for a constant learning rate.

    Cosine reaches `min_lr` at the end of the stage: with a budget of steps after the last of `steps`, which can lie
    inside an epoch, else after the last of `epochs`. The other schedules count epochs with either budget.
    """
    settings = training.schedule
    if settings.name == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, settings.every, settings.factor)
    if settings.name == "cosine":
        length = steps if changes_by_step(training) else training.epochs
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, length), settings.min_lr)
    if settings.name == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser,
            factor=settings.factor,
            patience=settings.every - 1,  # Keras, whose settings these are, counts the epoch of the reduction too
            threshold=settings.min_delta,
            threshold_mode="abs",
            min_lr=settings.min_lr,
        )
    return None
