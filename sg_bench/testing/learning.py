"""Checks of a method in training: in this process, stopped and resumed, in a worker process and on Ray."""

from __future__ import annotations

import atexit
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sg_bench.methods.base import Batch
from sg_bench.networks.norm import use_batch_statistics
from sg_bench.planning import Job, Plan, plan
from sg_bench.running.local import WorkerProcesses
from sg_bench.running.schedule import Backend, Unit
from sg_bench.suite import Suite
from sg_bench.testing.checks import ContractError, require
from sg_bench.testing.contract import same_state
from sg_bench.testing.phantoms import PATIENTS, SHAPES, SOURCES
from sg_bench.testing.subject import BATCH, Subject, train_draws
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.pretraining import Pretraining
from sg_bench.training.view_probe import view_probe
from sg_bench.workspace import Workspace, read_json

STEPS = 20
PROBE_STEPS = 40
"""Steps on two batches in turns, after which a probe or a measure has improved."""
PROBE_LR = 0.003
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
        batch = learner.batch("train", train_draws())
        found = _steps(learner, number, itertools.repeat(batch, STEPS))
        first, last = found[0], float(np.mean(found[-3:]))
        change = f"the loss of stage '{stage.name}' goes from {first:.4g} to {last:.4g} in {STEPS} steps on one batch"
        require(last < FALL * first, f"{change}: it must fall below {FALL:.0%}")


def check_its_measure_rises(subject: Subject) -> None:
    """The measure that the method promises rises while the network is trained on two batches in turns."""
    name = subject.method().promise.measure
    before, after = _before_and_after(subject, lambda learner, batch: _measured(learner, batch, name))
    change = f"'{name}' goes from {before:.3g} to {after:.3g} in {PROBE_STEPS} steps"
    require(after > before, f"{change} of training: it must rise, or promise something else")


def check_its_probe_improves(subject: Subject) -> None:
    """In the encoder's features, views of an image become more alike than views of different images."""
    require(bool(subject.batch(subject.method()).views), "it promises a probe, so its batches must have two views")
    before, after = _before_and_after(
        subject, lambda learner, batch: view_probe(learner.method, learner.network, batch)
    )
    change = f"two views of an image are {before:.2f} more alike than those of others before training and {after:.2f}"
    require(after > before, f"{change} after {PROBE_STEPS} steps: they must become more alike")


def _before_and_after(subject: Subject, judge: Callable[[Pretraining, Batch], float]) -> tuple[float, float]:
    """Return what `judge` says of two batches of different images before and after training on them in turns.

    A queue then holds keys of the other batch, and none of the images that are compared with it.
    """
    learner = subject.learner()
    batches = [learner.batch("train", train_draws(first=first)) for first in (0, BATCH)]
    before = np.mean([judge(learner, batch) for batch in batches])
    _steps(learner, len(learner.stages) - 1, itertools.islice(itertools.cycle(batches), PROBE_STEPS), lr=PROBE_LR)
    return float(before), float(np.mean([judge(learner, batch) for batch in batches]))


def _steps(learner: Pretraining, stage: int, batches: Iterable[Batch], *, lr: float = 0.01) -> list[float]:
    """Train a stage with Adam, a step on each batch, with the method's hooks, and return the losses.

    Raises:
        ContractError: a loss is not finite.
    """
    learner.network.train()
    optimiser = torch.optim.Adam([each for each in learner.network.parameters() if each.requires_grad], lr=lr)
    found = []
    for step, batch in enumerate(batches, start=1):
        optimiser.zero_grad()
        losses = learner.losses(batch, learner.stages[stage])
        loss = weighted_loss(losses, learner.stages[stage])
        require(bool(torch.isfinite(loss)), f"the loss of stage '{learner.stages[stage].name}' is {loss.item()}")
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        learner.after_step(step, PROBE_STEPS, losses)
        found.append(loss.item())
    return found


def _measured(learner: Pretraining, batch: Batch, name: str) -> float:
    with torch.no_grad(), use_batch_statistics(learner.network):
        measures = learner.losses(batch, learner.stages[-1]).measures
    require(name in measures, f"it promises the measure '{name}', but its losses have {sorted(measures)}")
    return float(measures[name])


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
            "methods": [_method(subject)],
            "tasks": ["pxs[data=phantom]" if subject.dimension == 2 else "lcs[data=phantom]"],
        }
    )


def _method(subject: Subject) -> dict[str, Any]:
    """Return the method as a suite names it; a network of its own is written next to its settings."""
    if "network" not in subject.given:
        return {"name": subject.name, "config": subject.given}
    own = {name: value for name, value in subject.given.items() if name not in ("network", "width")}
    network = subject.config.network
    settings = network.config.model_dump(exclude={"dimension"})
    return {"name": subject.name, "config": own, "network": {"name": network.name, **settings}}


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
