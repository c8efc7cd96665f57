"""A demo-sized Semantic Genesis from the first step to the last, and its resumption."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_sections.common import (
    configure,
    cuda,
    smooth_images,
)
from sg_bench.data.cubes import ArrayCubes
from sg_bench.registry import METHODS
from sg_bench.training.loop import train
from sg_bench.training.pretraining import Pretraining, fresh_network

AUTOCAST: tuple[str, ...] = ("bfloat16", "tf32", "float32")
"""Precisions in which the small Semantic Genesis is trained."""


def semantic_genesis() -> dict[str, Any]:
    """Return how a demo-sized Semantic Genesis learns on the card, and whether it resumes to the same weights."""
    shape, classes = (16, 16, 8), 12
    rng = np.random.default_rng(0)
    places = smooth_images(classes, (24, 24, 16), seed=1).astype(np.float32)
    cubes, labels = [], []
    for number in range(classes * 16):
        label = number % classes
        start = rng.integers(2, 7, 3)
        window = places[label][tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]
        cubes.append(np.clip(window + rng.normal(0, 0.05, shape), 0, 1))
        labels.append(label)
    images, classes_of = np.stack(cubes).astype(np.float16), np.array(labels)
    data = [ArrayCubes(images[part], classes_of[part]) for part in (slice(0, 144), slice(144, None))]

    def learner(precision: str) -> Pretraining:
        training: dict[str, Any] = {"batch_size": 16, "epochs": 10, "steps_per_epoch": 10, "patience": None}
        training["precision"] = precision
        given = {
            "width": 4,
            "training": training,
            "semantics": {"warm_up_epochs": 4, "weight_classification": 0.1},
            "transforms": {"in_painting": {"border": 1}, "out_painting": {"border": 1}},
        }
        kind = METHODS.config("semantic_genesis")
        method = METHODS.load("semantic_genesis")(kind.model_validate(given), classes)
        return Pretraining(method, fresh_network(method, 0), data[0], data[1], cuda())

    configure()
    out: dict[str, Any] = {}
    finals: dict[str, list[Tensor]] = {}
    for precision in AUTOCAST:
        subject = learner(precision)
        started = time.perf_counter()
        curves = train(subject, seed=0)
        out[precision] = {
            "seconds": round(time.perf_counter() - started, 2),
            "first_loss": curves[0]["train"]["loss"],
            "last_loss": curves[-1]["train"]["loss"],
            "validation_accuracy": curves[-1]["validation"]["accuracy"],
            "chance": 1 / classes,
        }
        finals[precision] = [tensor.cpu() for tensor in subject.network.state_dict().values()]
        out[precision]["resumes_to_the_same_bits"] = resumes_exactly(learner, precision, finals[precision])
    return out


class StoppedError(Exception):
    """Raised in the middle of a training."""


def resumes_exactly(learner: Callable[[str], Pretraining], precision: str, finals: list[Tensor]) -> bool:
    """Return whether a training that is interrupted at its 55th of 100 steps ends with the same weights."""

    def stop(done: int, total: int | None) -> None:
        if done == 55:
            raise StoppedError

    with tempfile.TemporaryDirectory() as name:
        with suppress(StoppedError):
            train(learner(precision), seed=0, folder=Path(name), progress=stop, checkpoint_seconds=0)
        again = learner(precision)
        train(again, seed=0, folder=Path(name), checkpoint_seconds=0)
    weights = [tensor.cpu() for tensor in again.network.state_dict().values()]
    return all(torch.equal(one, other) for one, other in zip(weights, finals, strict=True))
