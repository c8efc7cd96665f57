"""Checks of a method in training: in this process, stopped and resumed, in a worker process and on Ray."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sg_bench.planning import Job, Plan, plan
from sg_bench.running.local import WorkerProcesses
from sg_bench.running.schedule import Backend, Unit
from sg_bench.suite import Suite
from sg_bench.testing.checks import ContractError, require
from sg_bench.testing.contract import same_state
from sg_bench.testing.phantoms import PATIENTS, SHAPES, SOURCES
from sg_bench.testing.subject import Subject, train_draws
from sg_bench.training.loop import train, weighted_loss
from sg_bench.workspace import Workspace, read_json

STEPS = 20
FALL = 0.9
"""A loss must fall below this fraction of its first value: any method that learns does better on one batch."""
STOP = 3
"""The step in which a training is interrupted: in its second epoch, so that it resumes from a checkpoint."""
WAIT_SECONDS = 300
UNLIKELY = 1_958_473_021
"""A seed that no method uses."""


def check_its_loss_falls(subject: Subject) -> None:
    """The loss of every stage is finite and falls while the network is trained on a single batch."""
    for number, stage in enumerate(subject.method().stages()):
        learner = subject.learner()
        learner.network.train()
        optimiser = torch.optim.Adam(learner.network.parameters(), lr=0.01)
        batch, found = learner.batch("train", train_draws()), []
        for _ in range(STEPS):
            optimiser.zero_grad()
            loss = weighted_loss(learner.losses(batch, learner.stages[number]), stage)
            require(bool(torch.isfinite(loss)), f"the loss of stage '{stage.name}' is {loss.item()}")
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            found.append(loss.item())
        first, last = found[0], float(np.mean(found[-3:]))
        change = f"the loss of stage '{stage.name}' goes from {first:.4g} to {last:.4g} in {STEPS} steps on one batch"
        require(last < FALL * first, f"{change}: it must fall below {FALL:.0%}")


def check_it_resumes_bit_for_bit(subject: Subject) -> None:
    """A training that is stopped and resumed from its checkpoint ends with the same weights, bit for bit."""
    whole, stopped, resumed = subject.learner(), subject.learner(), subject.learner(seed=1)
    curves = train(whole, seed=7)
    with tempfile.TemporaryDirectory() as folder:
        with suppress(_StoppedError):
            train(stopped, seed=7, folder=Path(folder), progress=_stop, checkpoint_seconds=0)
        # It starts with other weights, so what it ends with comes from the checkpoint.
        again = train(resumed, seed=7, folder=Path(folder), checkpoint_seconds=0)
    require(
        again == curves, "a resumed training has other curves: keep nothing outside the network that a step changes"
    )
    require(same_state(whole.network, resumed.network), "a resumed training ends with other weights")


def check_it_leaves_global_randomness_alone(subject: Subject) -> None:
    """Training neither seeds nor draws from the global random generators of torch, numpy or Python."""
    learner = subject.learner()
    with _unlike_states():  # seeded as no method does, so that setting a seed is noticed
        before = _random_states()
        if learner.stages:
            train(learner, seed=7)
        learner.method.initialisation(learner.network)
        subject.batch(learner.method)
        touched = [name for name, state in _random_states().items() if state != before[name]]
    require(not touched, f"it touches the global random numbers of {', '.join(touched)}: draw from `rng` alone")


def check_it_runs_in_a_worker_process(subject: Subject) -> None:
    """It can be pretrained in a new process from its name and settings alone."""
    with _environment():
        _pretrained(subject, worker(), _workspace())


def check_it_runs_on_ray(subject: Subject) -> None:
    """Pretraining on Ray gives the same weights as in a worker process, bit for bit."""
    from sg_bench.running.cluster.backend import RayBackend

    with _environment(), tempfile.TemporaryDirectory() as folder:
        here = _pretrained(subject, worker(), _workspace())
        workspace = Workspace(folder)
        shutil.copytree(_workspace().root, workspace.root, dirs_exist_ok=True)
        backend = RayBackend(workspace, "local", 2)
        try:
            there = _pretrained(subject, backend, workspace)
        finally:
            backend.close()
    require(here == there, "Ray gives other weights than a worker process")


class _StoppedError(Exception):
    pass


def _stop(done: int, total: int | None) -> None:
    if done == STOP:
        raise _StoppedError


def _random_states() -> dict[str, str]:
    numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002 - the global state is what is checked
    return {
        "Python": str(random.getstate()),
        "numpy": str([str(part) for part in numpy_state]),
        "torch": str(torch.get_rng_state().tolist()),
    }


@contextmanager
def _unlike_states() -> Iterator[None]:
    """Set the global random generators to a state that no method sets, and restore them afterwards."""
    python, numpy_state = random.getstate(), np.random.get_state(legacy=True)  # noqa: NPY002 - likewise
    with torch.random.fork_rng(devices=[]):
        random.seed(UNLIKELY)
        np.random.seed(UNLIKELY)  # noqa: NPY002 - likewise
        torch.default_generator.manual_seed(UNLIKELY)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)  # noqa: NPY002 - likewise


def _pretrained(subject: Subject, backend: Backend, workspace: Workspace) -> dict[str, Any]:
    """Pretrain on a backend, after what that needs; return the digests of the outputs."""
    planned = plan(_suite(subject))
    job = planned.jobs[planned.jobs[planned.cells[0].key].needs[-1]]
    shutil.rmtree(workspace.path("initialisations", job.key), ignore_errors=True)  # of an earlier runner
    for each in [*_needs(planned, job), job]:
        failure = backend.submit(Unit(each)).result(timeout=WAIT_SECONDS)
        if failure:
            raise ContractError(f"{each.title} failed: {failure.type}: {failure.message}")
    outputs: dict[str, Any] = read_json(workspace.path("initialisations", job.key) / "record.json")["outputs"]
    return outputs


def _needs(planned: Plan, job: Job) -> list[Job]:
    """Return the jobs that `job` needs, directly or not, in the order of the plan."""
    wanted = set(job.needs)
    for each in reversed(planned.jobs.values()):
        wanted |= set(each.needs) if each.key in wanted else set()
    return [each for each in planned.jobs.values() if each.key in wanted]


def _suite(subject: Subject) -> Suite:
    """Return a suite of this method; nothing is fine-tuned, so only the dimension of its task matters."""
    cube = SHAPES[subject.dimension]
    brief = {"batch_size": 4, "epochs": 1, "steps_per_epoch": 1}
    scaled = {"preparation": {"clip": (0, 255)}} if subject.dimension == 2 else {}
    corpus = {
        "name": "phantom",
        "source": "phantom",
        "config": SOURCES[subject.dimension],
        "validation": 1 / PATIENTS,
        "autoencoder": {"shape": cube, "training": brief},
        "discovery": {
            "classes": PATIENTS - 1,
            "neighbours": PATIENTS - 1,
            "validation_neighbours": 1,
            "crops": {"cube": cube, "border": [4, 4, 0 if subject.dimension == 2 else 4], "air": None},
            "min_distance": 2,
            "sides": [cube[0] - 2, cube[0] + 2],
            "jitter": [-1, 1],
        },
        **scaled,
    }
    return Suite.model_validate(
        {
            "name": "conformance",
            "width": subject.config.width,
            "corpora": {f"{subject.dimension}d": corpus},
            "methods": [{"name": subject.name, "config": subject.given}],
            "tasks": ["pxs[data=phantom]" if subject.dimension == 2 else "lcs[data=phantom]"],
        }
    )


@cache
def _workspace() -> Workspace:
    folder = Path(tempfile.mkdtemp(prefix="sg-bench-check-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Workspace(folder)


@cache
def worker() -> WorkerProcesses:
    """Return a pool of one worker process, which is kept because it takes seconds to start."""
    pool = WorkerProcesses(_workspace(), 1)
    atexit.register(pool.close)
    return pool


@contextmanager
def _environment() -> Iterator[None]:
    """Restore the environment variables afterwards, which worker processes are started with."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
