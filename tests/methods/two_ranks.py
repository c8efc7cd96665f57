"""One process of test_two_ranks.py: `python two_ranks.py RANK SIZE FOLDER` trains and leaves rank<RANK>of<SIZE>.pt."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from sg_bench.data.cubes import ArrayCubes
from sg_bench.methods.base import Batch
from sg_bench.registry import METHODS
from sg_bench.training.draws import Draw
from sg_bench.training.loop import TrainingPart, train
from sg_bench.training.pretraining import Pretraining, fresh_network
from sg_bench.training.ranks import World

STEPS = 10
JOBS: dict[str, dict[str, Any]] = {
    "moco_v2": {"queue": 10, "momentum": 0.9},
    "dino": (small_dino := {"local_views": 1, "local_size": (8, 8, 8), "bottleneck": 4, "momentum": 0.9}),
    "dino with head_norm": small_dino | {"head_norm": True},
    "simclr": {},
    "vicreg": {},
}
SGD = {"name": "sgd", "lr": 0.01}
SMALL = {"width": 1, "projection": {"hidden": 8, "outputs": 6}}


class InDoubles(Pretraining):
    """Training in double precision, in which rounding does not grow to a visible difference."""

    def start_epoch(self, stage: int, epoch: int) -> None:
        self.network.double()

    def batch(self, part: TrainingPart, draws: list[Draw]) -> Batch:
        batch = super().batch(part, draws)
        views = tuple(view.double() for view in batch.views)
        return replace(batch, inputs=batch.inputs.double(), targets=batch.targets.double(), views=views)


def trained(name: str, world: World) -> dict[str, Any]:
    """Return the state and the curve of ten steps, each of which is an epoch with a validation."""
    kind = name.split()[0]
    training = {"batch_size": 4, "epochs": STEPS, "steps_per_epoch": 1, "optimiser": SGD, "patience": None}
    config = METHODS.config(kind).model_validate({**SMALL, **JOBS[name], "training": training})
    method = METHODS.load(kind)(config, 0)
    cubes = np.random.default_rng(0).random((12, 16, 16, 8))
    parts = ArrayCubes(cubes[:9]), ArrayCubes(cubes[9:])  # three: one rank would have two of them
    learner = InDoubles(method, fresh_network(method, 0), *parts, torch.device("cpu"))
    curves = train(learner, seed=0, world=world)
    return {"state": learner.network.state_dict(), "curves": curves}


def main(rank: int, size: int, folder: Path) -> None:
    """Train every job on this rank's share of each batch."""
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    torch.save({name: trained(name, World(rank, size)) for name in JOBS}, folder / f"rank{rank}of{size}.pt")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
