"""Losses of the target tasks, from logits and truths of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sg_bench.tasks import Task


def task_loss(task: Task, logits: Tensor, truths: Tensor) -> Tensor:
    """Return the loss of a classification or of a segmentation.

    Args:
        task: names the loss, and whether its classes exclude each other.
        logits: (B, outputs) or (B, outputs, X, Y, Z); of exclusive classes of voxels, background is the first output.
        truths: (B, outputs) or (B, masks, X, Y, Z), 0 or 1.
    """
    if task.loss == "bce":
        return functional.binary_cross_entropy_with_logits(logits, truths)
    if task.loss == "cross_entropy":
        return functional.cross_entropy(logits, _class_shares(task, truths))
    dice = _dice(task, logits, truths)
    if task.loss == "dice":
        return dice
    if task.exclusive:
        return dice + functional.cross_entropy(logits, _class_shares(task, truths))
    return dice + functional.binary_cross_entropy_with_logits(logits, truths)


def soft_dice_loss(probabilities: Tensor, truths: Tensor) -> Tensor:
    """Return 1 - (2 sum(yp) + 1) / (sum(y) + sum(p) + 1), summed over all voxels of the batch (protocol B.0)."""
    both = (probabilities * truths).sum()
    return 1 - (2 * both + 1) / (probabilities.sum() + truths.sum() + 1)


def _dice(task: Task, logits: Tensor, truths: Tensor) -> Tensor:
    """Return the mean of the soft Dice losses of all masks, without background."""
    probabilities = torch.softmax(logits, dim=1)[:, 1:] if task.exclusive else torch.sigmoid(logits)
    masks = range(truths.shape[1])
    if len(masks) == 1:
        return soft_dice_loss(probabilities, truths)
    return torch.stack([soft_dice_loss(probabilities[:, mask], truths[:, mask]) for mask in masks]).mean()


def _class_shares(task: Task, truths: Tensor) -> Tensor:
    """Return the probability of each class, 0 or 1; of voxels with background, which no mask holds, as the first."""
    if task.kind == "classification":
        return truths
    return torch.cat([1 - truths.sum(dim=1, keepdim=True), truths], dim=1)
