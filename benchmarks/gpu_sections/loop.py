"""The training loop against bare steps on batches that stand ready."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.gpu_sections.common import (
    BATCH,
    CUBE,
    FILM,
    configure,
    configured,
    cuda,
    epoch_draws,
    pretraining,
)
from sg_bench.config import Shape
from sg_bench.training.loader import to_device
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.precision import autocast
from sg_bench.training.pretraining import Pretraining

WARM_UP = 4
"""Steps at the start of an epoch while the loader's threads fill their queue."""


def loop() -> dict[str, Any]:
    """Return the speed of the training loop against bare steps on ready tensors, for both recipes."""
    out = {}
    for title, name, shape, steps, deterministic in (
        ("models_genesis unet3d", "models_genesis", CUBE, 24, False),
        ("semantic_genesis unet3d", "semantic_genesis", CUBE, 24, False),
        ("models_genesis unet3d deterministic", "models_genesis", CUBE, 12, True),
        ("models_genesis resnet18_unet", "models_genesis", FILM, 100, False),
        ("semantic_genesis resnet18_unet", "semantic_genesis", FILM, 100, False),
    ):
        out[title] = loop_row(name, shape, steps, deterministic=deterministic)
        print(title, out[title], flush=True)
        torch.cuda.empty_cache()
    return out


def loop_row(name: str, shape: Shape, steps: int, *, deterministic: bool) -> dict[str, Any]:
    """Return the speed of one training loop in bfloat16."""
    training = {
        "batch_size": BATCH,
        "epochs": 3,
        "steps_per_epoch": steps,
        "patience": None,
        "optimiser": {"name": "adam", "lr": 1e-4},
        "precision": "bfloat16",
    }
    semantics = {"semantics": {"warm_up_epochs": 0}} if name == "semantic_genesis" else {}
    method = configured(name, shape, training=training, **semantics)
    learner = pretraining(method, shape, 256)
    ends: list[float] = []

    def progress(done: int, total: int | None) -> None:
        if done % steps in (0, WARM_UP):
            torch.cuda.synchronize()
            ends.append(time.perf_counter())

    configure(deterministic=deterministic)
    train(learner, seed=0, progress=progress)
    epoch = (ends[-1] - ends[-3]) / steps
    steady = (ends[-1] - ends[-2]) / (steps - WARM_UP)
    bare = bare_step(learner, steps)
    configure(deterministic=False)
    return {
        "bare_step_ms": round(1000 * bare, 2),
        "loop_step_ms": round(1000 * epoch, 2),
        "loop_step_ms_after_warm_up": round(1000 * steady, 2),
        "ratio": round(bare / epoch, 3),
        "ratio_after_warm_up": round(bare / steady, 3),
        "images_per_second": round(BATCH / epoch, 1),
    }


def bare_step(learner: Pretraining, steps: int) -> float:
    """Return the seconds of one training step on a batch that is ready on the card."""
    stage = learner.stages[-1]
    batch = to_device(learner.batch("train", next(epoch_draws(1, BATCH))), cuda())
    network = learner.network.train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast(cuda(), stage.training.precision):
            loss = weighted_loss(learner.losses(batch, stage), stage)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps
