"""How fast the training loop is, against bare steps on batches that stand ready: 1 is as fast as can be."""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from sg_bench.config import Shape
from sg_bench.data.cubes import ArrayCubes
from sg_bench.data.prepare import PreparedCase, VoxelCandidate
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, write_case
from sg_bench.networks.configs import papers_network
from sg_bench.networks.memory import channels_last
from sg_bench.registry import METHODS
from sg_bench.tasks import read_task
from sg_bench.training.draws import epoch_batches
from sg_bench.training.fine_tuning import FineTuning, task_network
from sg_bench.training.loader import to_device
from sg_bench.training.loop import Learner, train, weighted_loss
from sg_bench.training.pretraining import Pretraining, fresh_network

CPU = torch.device("cpu")
SIZES: dict[str, tuple[int, Shape, int]] = {"demo": (4, (16, 16, 8), 16), "width16": (16, (32, 32, 16), 4)}
"""Width, voxels of a cube, batch size."""
STEPS = {"demo": 40, "width16": 6}
CLASSES = 12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", ["models_genesis", "semantic_genesis", "ncc", "ncs"])
def test_loop(benchmark: BenchmarkFixture, what: str, size: str) -> None:
    torch.set_num_threads(1)
    make = fine_tuning if what in ("ncc", "ncs") else pretraining
    train(make(what, size), seed=0)  # compiles, and fills caches
    ratios = []

    def both() -> None:
        looped, bare = loop_seconds(make(what, size), STEPS[size]), bare_seconds(make(what, size), STEPS[size])
        ratios.append(bare / looped)

    benchmark.pedantic(both, rounds=3)
    share = round(statistics.median(ratios), 3)
    benchmark.extra_info["share_of_bare_speed"] = share
    print(f"\n{what}, {size}: {share} of the bare speed")


def loop_seconds(learner: Learner, steps: int) -> float:
    """Return the seconds of one epoch inside the loop; the first one warms up."""
    times: list[float] = []
    train(
        learner, seed=0, progress=lambda done, total: times.append(time.perf_counter()) if done % steps == 0 else None
    )
    return times[1] - times[0]


def bare_seconds(learner: Learner, steps: int) -> float:
    """Return the seconds of as many bare steps on batches that stand ready."""
    stage = learner.stages[-1]
    learner.start_epoch(0, 0)
    draws = epoch_batches(
        0, 0, 0, samples=learner.samples("train"), batch_size=stage.training.batch_size, steps=steps + 3
    )
    ready = [to_device(learner.batch("train", each), CPU) for each in draws]
    network = channels_last(learner.network).train()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-3)
    for number, batch in enumerate(ready):
        if number == 3:
            started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss = weighted_loss(learner.losses(batch, stage), stage)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return time.perf_counter() - started


def pretraining(name: str, size: str) -> Pretraining:
    """Return a method's pretraining on smooth cubes."""
    width, shape, _ = SIZES[size]
    given: dict[str, Any] = {"width": width, "training": training_of(size)}
    if name == "semantic_genesis":
        given["semantics"] = {"warm_up_epochs": 0}
    if size == "demo":
        small = {"shuffle": {"side_divisor": 4}, "in_painting": {"border": 1}, "out_painting": {"border": 1}}
        given["transforms"] = small | ({"shuffle": {"blocks": 400}} if name == "models_genesis" else {})
    classes = CLASSES if name == "semantic_genesis" else 0
    method = METHODS.load(name)(METHODS.config(name).model_validate(given), classes)
    images = smooth(96, shape)
    cubes = ArrayCubes(images, np.arange(len(images)) % CLASSES)
    return Pretraining(method, fresh_network(method, 0), cubes, ArrayCubes(images[:0]), CPU)


def fine_tuning(name: str, size: str) -> FineTuning:
    """Return the fine-tuning of a task on the phantom's patch size or a larger one."""
    width, shape, _ = SIZES[size]
    task = read_task(f"{name}[data=phantom]")
    sampling = task.sampling.model_copy(update={"patch": shape})
    training = task.training.model_copy(update={**training_of(size), "patience": None, "steps": None})
    task = task.model_copy(update={"sampling": sampling, "training": training})
    scratch = METHODS.load("scratch")(METHODS.config("scratch").model_validate({"width": width}))
    network, _ = task_network(
        task, papers_network(3, width), *scratch.initialisation(fresh_network(scratch, 0)), seed=0
    )
    store = labelled_store()
    return FineTuning(task, network, store, store.ids, [], 0, CPU)


def training_of(size: str) -> dict[str, Any]:
    return {"batch_size": SIZES[size][2], "epochs": 2, "steps_per_epoch": STEPS[size], "patience": None}


def smooth(count: int, shape: Shape) -> np.ndarray[Any, Any]:
    """Return (count, x, y, z) float16 images in [0, 1]."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((count, 1, *(side // 4 for side in shape)), dtype=np.float32))
    images = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=False)[:, 0]
    return np.asarray(images.numpy(), np.float16)


@cache
def labelled_store() -> Store:
    """Return a store of eight volumes with a nodule and candidates."""
    folder = Path(tempfile.mkdtemp())
    for number, image in enumerate(smooth(8, (64, 64, 48))):
        label = np.zeros(image.shape, np.uint8)
        label[20:26, 20:26, 20:24] = 1
        candidates = [VoxelCandidate((8 * n + 8, 24, 22), n % 2 == 0, None) for n in range(6)]
        prepared = PreparedCase(image, (1.0, 1.0, 1.0), np.eye(4), label, candidates)
        write_case(folder, Case(f"case{number}", f"case{number}"), prepared)
    finish(folder, {}, [f"case{number}" for number in range(8)])
    return Store.open(folder)
