"""One process of test_ranks.py: `python two_ranks.py RANK SIZE FOLDER` trains and leaves rank<RANK>of<SIZE>.pt."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from sg_bench.data.cubes import ArrayCubes
from sg_bench.errors import SgBenchError
from sg_bench.methods.base import Batch, Method
from sg_bench.methods.configs import ModelsGenesisConfig, SemanticGenesisConfig
from sg_bench.methods.models_genesis import ModelsGenesis
from sg_bench.methods.semantic_genesis import SemanticGenesis
from sg_bench.running.stages.locking import locked
from sg_bench.training.draws import Draw
from sg_bench.training.loop import TrainingPart, train
from sg_bench.training.pretraining import Pretraining, fresh_network
from sg_bench.training.ranks import World
from sg_bench.workspace import LockedElsewhere, Workspace

SHAPES = {2: (32, 32, 1), 3: (16, 16, 8)}


def cubes(count: int, dimension: int) -> ArrayCubes:
    """Return smooth cubes, or 2D images, of three kinds."""
    shape = SHAPES[dimension]
    x, y, z = np.indices(shape) / shape[0]
    z = z if dimension == 3 else x
    kinds = np.stack([x, y * z, 1 - x * y])
    noise = np.random.default_rng(count).random((count, *shape)) * 0.2
    return ArrayCubes(kinds[np.arange(count) % 3] * 0.8 + noise, np.arange(count) % 3)


class InDoubles(Pretraining):
    """Training in double precision: in single, rounding alone can make two trainings differ by 1e-3 in six steps."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.network.double()

    def batch(self, part: TrainingPart, draws: list[Draw]) -> Batch:
        batch = super().batch(part, draws)
        return replace(batch, inputs=batch.inputs.double(), targets=batch.targets.double())


Settings = dict[str, Any]
SHORT: Settings = {"batch_size": 6, "epochs": 3, "optimiser": {"name": "sgd", "lr": 0.01}}
TWENTY: Settings = {"batch_size": 4, "epochs": 20, "steps_per_epoch": 1, "patience": None}


def semantic_genesis(training: Settings, *, dimension: int = 3, warm_up: int = 1) -> SemanticGenesis:
    """Return the method of two stages, the first of which leaves the decoder unused."""
    semantics = {"warm_up_epochs": warm_up, "weight_classification": 0.1}
    settings = {"dimension": dimension, "width": 2, "semantics": semantics, "training": training}
    return SemanticGenesis(SemanticGenesisConfig.model_validate(settings), 3)


def models_genesis(training: Settings) -> ModelsGenesis:
    """Return the method of one stage."""
    transforms = {"shuffle": {"blocks": 20, "side_divisor": 4}}
    settings = {"dimension": 3, "width": 2, "transforms": transforms, "training": training}
    return ModelsGenesis(ModelsGenesisConfig.model_validate(settings), 0)


RESUMED = semantic_genesis(SHORT)
STOP = 5
"""Of 6 steps in two stages, that after which a training is interrupted: in the second stage."""
TIMEOUT = 6.0
"""Seconds that ranks wait for each other."""
LOCK = "ab" * 32


def learner_of(method: Method, validation: int = 7) -> InDoubles:
    """Return a learner of a fresh network."""
    parts = cubes(13, method.config.dimension), cubes(validation, method.config.dimension)
    return InDoubles(method, fresh_network(method, 0), *parts, torch.device("cpu"))


def trained(world: World, method: Method, validation: int) -> dict[str, Any]:
    """Return weights, statistics and curves of a short training."""
    learner = learner_of(method, validation)
    curves = train(learner, seed=0, world=world)
    return {"weights": learner.network.state_dict(), "curves": curves}


class StoppedError(Exception):
    """Ends a training in its middle."""


def begun(folder: Path, world: World | None = None) -> None:
    """Train a few steps and leave a checkpoint, as a training does that is killed."""

    def stop(done: int, total: int | None) -> None:
        if done == STOP:
            raise StoppedError

    with contextlib.suppress(StoppedError):
        train(learner_of(RESUMED), seed=0, folder=folder, world=world, progress=stop, checkpoint_seconds=0)


def finished(folder: Path, world: World | None = None) -> dict[str, Any]:
    """Resume a training and return what it ends with, and the numbers of processes that took part."""
    learner, sizes = learner_of(RESUMED), list[int]()
    curves = train(learner, seed=0, folder=folder, world=world, checkpoint_seconds=0, world_sizes=sizes)
    return {"weights": learner.network.state_dict(), "curves": curves, "world_sizes": sizes}


def waited(rank: int, folder: Path) -> dict[str, Any]:
    """Return what happens where another process holds a lock for longer than the ranks wait for each other."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'again'}", rank=rank, world_size=2, timeout=timedelta(seconds=TIMEOUT)
    )
    world, workspace = World(rank, 2), Workspace(folder)
    found: dict[str, Any] = {}
    try:
        with locked(workspace, LOCK, world, wait=False):
            pass
    except LockedElsewhere:
        found["refused"] = True
    (folder / f"waiting{rank}").touch()
    with locked(workspace, LOCK, world):
        found["released"] = (folder / "released").exists()
        if rank == 0:
            try:
                with workspace.lock(LOCK, wait=False):
                    pass
            except LockedElsewhere:
                found["held"] = True
        found["decided"] = world.decide(lambda: f"by rank {rank}")
    try:
        world.decide(lambda: [][1])
    except (IndexError, SgBenchError) as error:
        found["error"] = f"{type(error).__name__}: {error}"
    dist.destroy_process_group()
    return found


def gathered(world: World) -> dict[str, Any]:
    """Return what ranks gather of 8 rows, and the gradient of a loss that compares each row with all of them."""
    rows = torch.rand(8, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.full((3, 2), 0.5, dtype=torch.float64, requires_grad=True)
    own = rows[world.rank * 4 :][: 8 // world.size] * weight
    every = world.gather(own)
    loss = (own.flatten(1) @ every.flatten(1).T).logsumexp(1).mean()
    loss.backward()
    assert weight.grad is not None
    gradient = world.all_reduce(weight.grad) / world.size
    uneven = world.gather(rows[:5] if world.size == 1 else rows[:5][3 * world.rank :][: 3 - world.rank])
    none_here = world.gather(rows[:2] if world.rank == 0 else rows[:0])
    return {"every": every.detach(), "gradient": gradient, "uneven": uneven, "none here": none_here}


def main(rank: int, size: int, folder: Path) -> None:
    """Train every job on this rank's share of each batch."""
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    jobs: dict[str, tuple[Method, int]] = {
        "several": (semantic_genesis(SHORT | {"norm_eval": "reestimated"}), 7),
        "lonely": (semantic_genesis(SHORT), 1),
        "none": (semantic_genesis(SHORT | {"norm_eval": "reestimated"}), 0),
        "images": (semantic_genesis(SHORT, dimension=2), 7),
        "divided": (semantic_genesis(SHORT | {"batch_size": 8, "micro_batch": 4}), 0),
        "twenty of semantic_genesis": (semantic_genesis(TWENTY, warm_up=6), 0),
        "twenty of models_genesis": (models_genesis(TWENTY), 0),
    }
    results = {name: trained(World(rank, size), *job) for name, job in jobs.items()}
    results["gathered"] = gathered(World(rank, size))
    if size > 1:
        world = World(rank, size)
        own = folder if rank == 0 else folder / "of rank 1, which reads and writes no checkpoint"
        begun(own / "begun on two", world)
        results["finished on two"] = finished(own / "begun on one", world)
        results["anew on two"] = finished(own / "damaged", world)
        dist.destroy_process_group()
        results["waited"] = waited(rank, folder)
    torch.save(results, folder / f"rank{rank}of{size}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
