"""Trains in child processes that are killed again and again: `python killed.py FOLDER SEED`, see test_loop.py.

Prints as JSON how often a child was killed, the place of its checkpoint then, and whether the end is the same, bit for
bit, as that of a training that nothing disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from sg_bench.config import Training
from sg_bench.data.cubes import ArrayCubes
from sg_bench.methods.configs import SemanticGenesisConfig
from sg_bench.methods.semantic_genesis import SemanticGenesis
from sg_bench.training.checkpoints import load_state
from sg_bench.training.loop import train
from sg_bench.training.pretraining import Pretraining, fresh_network

KILLS = 4
EPOCHS = 20


def result(folder: Path | None) -> dict[str, object]:
    """Train to the end and return weights and curves."""
    torch.set_num_threads(1)
    training = Training(batch_size=4, epochs=EPOCHS, steps_per_epoch=2)
    config = SemanticGenesisConfig.model_validate(
        {"width": 1, "semantics": {"warm_up_epochs": 6}, "training": training.model_dump()}
    )
    method = SemanticGenesis(config, 3)
    train_cubes, validation_cubes = (
        ArrayCubes(np.random.default_rng(count).random((count, 8, 8, 8)), np.arange(count) % 3) for count in (10, 4)
    )
    learner = Pretraining(method, fresh_network(method, 0), train_cubes, validation_cubes, torch.device("cpu"))
    curves = train(learner, seed=0, folder=folder, checkpoint_seconds=0)
    return {"weights": learner.network.state_dict(), "curves": curves}


def child(folder: Path | None, out: Path) -> int:
    """Fork a process that trains and leaves its result in `out`; return its id."""
    pid = os.fork()
    if pid == 0:
        torch.save(result(folder), out)
        os._exit(0)
    return pid


def written(folder: Path) -> int:
    """Return when the checkpoint was written, 0 if it was not."""
    path = folder / "last.pt"
    return path.stat().st_mtime_ns if path.exists() else 0


def main(folder: Path, seed: int) -> None:
    """Kill a training at random moments, each a little after a checkpoint; then let it end."""
    folder.mkdir()
    os.waitpid(child(None, folder / "whole.pt"), 0)
    draw, places = random.Random(seed), []
    for _ in range(KILLS):
        before = written(folder)
        pid = child(folder, folder / "killed.pt")
        while written(folder) == before and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        state = load_state(folder)
        places.append([state["stage"], state["epoch"]] if state else None)
    os.waitpid(child(folder, folder / "killed.pt"), 0)
    wanted, found = (torch.load(folder / f"{name}.pt", weights_only=False) for name in ("whole", "killed"))
    same = all(torch.equal(tensor, found["weights"][name]) for name, tensor in wanted["weights"].items())
    report = {"places": places, "weights": same, "curves": wanted["curves"] == found["curves"]}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
