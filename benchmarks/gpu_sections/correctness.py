"""Correctness against the CPU: batches, losses and gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_sections.common import (
    CUBE,
    FILM,
    PRECISIONS,
    arithmetic,
    configured,
    cuda,
    epoch_draws,
    pretraining,
)
from sg_bench.methods.base import Method
from sg_bench.training.loader import Loader, to_device
from sg_bench.training.loop import weighted_loss
from sg_bench.training.pretraining import fresh_network


def correctness() -> dict[str, Any]:
    """Return whether batches arrive on the GPU as they were made, and how far losses differ from those on the CPU."""
    out: dict[str, Any] = {"batches": {}, "losses": {}}
    for name in ("models_genesis", "semantic_genesis"):
        for kind, shape in (("3d", CUBE), ("2d", FILM)):
            learner = pretraining(configured(name, shape), shape, 32)
            plain = [learner.batch("train", draws) for draws in epoch_draws(4, 8)]
            loader = Loader(cuda())
            copied = list(loader.batches(partial(learner.batch, "train"), epoch_draws(4, 8)))
            loader.close()
            equal = [
                torch.equal(there.inputs.cpu(), here.inputs) and torch.equal(there.targets.cpu(), here.targets)
                for here, there in zip(plain, copied, strict=True)
            ]
            out["batches"][f"{name} {kind}"] = {"equal": all(equal), "on_gpu": all(b.inputs.is_cuda for b in copied)}
    for name in ("models_genesis", "semantic_genesis"):
        shape = (32, 32, 16)
        method = configured(name, shape, width=16)
        batch = pretraining(method, shape, 32).batch("train", next(epoch_draws(1, 4)))
        stage = method.stages()[-1]
        reference = loss_and_gradient(method, batch, torch.device("cpu"), stage, "float32")
        for precision in PRECISIONS:
            loss, gradient = loss_and_gradient(method, batch, cuda(), stage, precision)
            out["losses"][f"{name} {precision}"] = {
                "relative_error_of_loss": abs(loss - reference[0]) / abs(reference[0]),
                "relative_error_of_gradient": float((gradient - reference[1]).norm() / reference[1].norm()),
            }
    return out


def loss_and_gradient(
    method: Method, batch: Any, device: torch.device, stage: Any, precision: str
) -> tuple[float, Tensor]:
    """Return the loss of a batch and its gradient, flattened, on the CPU."""
    network = fresh_network(method, 0).to(device)
    moved = to_device(batch, device)
    context = arithmetic(precision) if device.type == "cuda" else torch.autocast("cpu", enabled=False)
    with context:
        loss = weighted_loss(method.losses(network, moved, stage), stage)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.double().cpu().flatten() for p in network.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(gradients)
