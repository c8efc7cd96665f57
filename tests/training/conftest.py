"""Small learners for the tests of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sg_bench.data.cubes import ArrayCubes
from sg_bench.data.store import Store
from sg_bench.methods.configs import AutoencoderConfig, SemanticGenesisConfig
from sg_bench.networks.configs import papers_network
from sg_bench.registry import METHODS
from sg_bench.tasks import Task, read_task
from sg_bench.training.fine_tuning import FineTuning, task_network
from sg_bench.training.pretraining import Pretraining, fresh_network

SIDE = (8, 8, 8)
CPU = torch.device("cpu")


def random_cubes(count: int, seed: int) -> ArrayCubes:
    cubes = np.random.default_rng(seed).random((count, *SIDE)).astype(np.float16)
    return ArrayCubes(cubes, np.arange(count) % 3)


@pytest.fixture
def autoencoder() -> Callable[..., Pretraining]:
    """Return a function that makes an auto-encoder's pretraining of one stage; it takes settings of `Training`."""

    def make(*, samples: int = 8, validation: int = 3, seed: int = 0, **training: Any) -> Pretraining:
        config = AutoencoderConfig.model_validate(
            {"width": 1, "shape": SIDE, "training": {"batch_size": 4, "epochs": 4, **training}}
        )
        method = METHODS.load("autoencoder")(config)
        network = fresh_network(method, seed)
        return Pretraining(method, network, random_cubes(samples, 1), random_cubes(validation, 2), CPU)

    return make


@pytest.fixture
def semantic() -> Callable[..., Pretraining]:
    """Return a function that makes Semantic Genesis' pretraining of two stages; it takes settings of `Training`."""

    def make(*, warm_up: int = 2, validation: int = 5, seed: int = 0, **training: Any) -> Pretraining:
        config = SemanticGenesisConfig.model_validate(
            {
                "width": 1,
                "semantics": {"warm_up_epochs": warm_up},
                "training": {"batch_size": 4, "epochs": 6, **training},
            }
        )
        method = METHODS.load("semantic_genesis")(config, 3)
        return Pretraining(method, fresh_network(method, seed), random_cubes(10, 1), random_cubes(validation, 2), CPU)

    return make


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Store]) -> Store:
    """Return a store of six cases: a bright ball of label 5, a positive candidate on it and five negative ones."""
    cases = {}
    for number in range(6):
        draw = np.random.default_rng(number)
        image, label = draw.random((24, 22, 20)) * 0.2, np.zeros((24, 22, 20))
        centre = draw.integers(8, 12, 3)
        ball = sum((np.indices(image.shape)[axis] - centre[axis]) ** 2 for axis in range(3)) < 10
        image[ball] += 0.7
        label[ball] = 5
        elsewhere = [(tuple(float(v) for v in draw.integers(2, 20, 3)), False) for _ in range(5)]
        cases[f"c{number}"] = {
            "image": image,
            "label": label,
            "candidates": [(tuple(float(v) for v in centre), True), *elsewhere],
        }
    return make_store(tmp_path_factory.mktemp("stores") / "labelled", cases)


@pytest.fixture
def tuning(labelled: Store) -> Callable[..., FineTuning]:
    """Return a function that makes the fine-tuning of the card `ncc`, `ncs` or `lcs`, with settings laid over it."""

    def make(name: str, *, seed: int = 0, width: int = 1, training: Any = None, **sampling: Any) -> FineTuning:
        task = small_task(name, training or {}, sampling)
        network, _ = task_network(task, papers_network(task.dimension, width), *initial(width), seed)
        return FineTuning(task, network, labelled, labelled.ids[:4], labelled.ids[4:], seed, CPU)

    return make


def small_task(name: str, training: dict[str, Any], sampling: dict[str, Any]) -> Task:
    card = read_task(name).model_dump()
    card["sampling"] |= {"patch": SIDE, "target_fraction": (0, 1), **sampling}
    card["training"] |= {"batch_size": 4, "epochs": 3, **training}
    card["target"] = () if name == "ncc" else (5,)
    return Task.model_validate(card)


def initial(width: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    method = METHODS.load("scratch")(METHODS.config("scratch").model_validate({"width": width}))
    encoder, decoder = method.initialisation(fresh_network(method, 99))
    return encoder, decoder


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    return tmp_path / "state"
