"""The one training loop: pretraining, the auto-encoder and fine-tuning all run through `train`."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from sg_bench.config import Stage, Training
from sg_bench.errors import MethodError, UsageError
from sg_bench.methods.base import Losses
from sg_bench.networks.memory import channels_last
from sg_bench.networks.norm import reestimate, use_batch_statistics
from sg_bench.training.checkpoints import State, load_state, save_state
from sg_bench.training.draws import Draw, Purpose, calibration_batches, epoch_batches, fixed_batches
from sg_bench.training.ranks import World

Part = Literal["train", "validation"]
CALIBRATION_BATCHES = 16
"""Training batches over which running statistics are re-estimated."""


class Learner(Protocol):
    """What the loop trains: a method on its corpus, or a task from an initialisation."""

    network: nn.Module
    stages: list[Stage]
    device: torch.device

    def samples(self, part: Part) -> int:
        """Return how many samples a part has."""

    def start_epoch(self, stage: int, epoch: int) -> None:
        """Choose this epoch's training samples, where the protocol draws them anew."""

    def batch(self, part: Part, draws: list[Draw]) -> Any:
        """Return the batch of `draws`, on the device; its `inputs` are what the network sees."""

    def losses(self, batch: Any, stage: Stage) -> Losses:
        """Run the network on a batch."""


Progress = Callable[[int, int | None], None]


def train(
    learner: Learner,
    *,
    seed: int,
    folder: Path | None = None,
    world: World | None = None,
    progress: Progress | None = None,
    checkpoint_seconds: float = 60.0,
) -> list[dict[str, Any]]:
    """Train through all stages and leave the best weights in the learner's network.

    Args:
        learner: what is trained.
        seed: all random numbers come from it (draws.py).
        folder: where the checkpoint is kept; a training that stopped there goes on, to the same bits on a CPU.
        world: this process among those that share the training.
        progress: called with (steps done, steps in all or None) as the training goes on.
        checkpoint_seconds: least time between two checkpoints, which are written at the end of an epoch.

    Returns:
        The curves: one row an epoch with stage, epoch, step, lr, train and validation losses.

    Raises:
        MethodError: the loss became NaN or infinite.
        DataError: there is nothing to train on.
        UsageError: a batch cannot be divided among the processes.
    """
    run = _Run(learner, seed, folder, world or World(), progress or _silent, checkpoint_seconds)
    run.resume()
    while run.stage < len(learner.stages):
        run.train_stage()
    return run.history


class _Run:
    """The state of one training; everything in `state()` is what a checkpoint holds."""

    def __init__(
        self, learner: Learner, seed: int, folder: Path | None, world: World, progress: Progress, every: float
    ) -> None:
        self.learner, self.seed, self.folder, self.world = learner, seed, folder, world
        self.progress, self.every = progress, every
        self.saved_at = time.monotonic()
        self.stage = self.epoch = self.stale = self.steps = 0
        self.history: list[dict[str, Any]] = []
        self.best = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        _check_shares(learner, world)
        channels_last(learner.network.to(learner.device))
        self._new_optimiser()

    def train_stage(self) -> None:
        """Train the current stage to its end, restore its best weights, and go on to the next."""
        while not self._stage_done():
            self._train_epoch()
            validation = self._validate()
            self._judge(validation)
            self._checkpoint()
        if self.best_weights is not None:
            self.learner.network.load_state_dict(self.best_weights)
        self.stage, self.epoch, self.stale = self.stage + 1, 0, 0
        self.best, self.best_weights = math.inf, None
        self._new_optimiser()
        self._checkpoint()

    @property
    def plan(self) -> Stage:
        return self.learner.stages[self.stage]

    def _new_optimiser(self) -> None:
        if self.stage < len(self.learner.stages):
            self.optimiser = _optimiser(self.learner.network, self.plan.training)
            self.schedule = _schedule(self.optimiser, self.plan.training)

    def _stage_done(self) -> bool:
        training = self.plan.training
        stale = training.patience is not None and self.stale >= training.patience
        return self.epoch >= training.epochs or stale or (training.steps is not None and self.steps >= training.steps)

    def _train_epoch(self) -> None:
        """Take one epoch's steps; append its row to the history."""
        training, network = self.plan.training, self.learner.network
        self.learner.start_epoch(self.stage, self.epoch)
        samples = self.learner.samples("train")
        steps = epoch_steps(samples, training, self.steps)
        batches = epoch_batches(
            self.seed, self.stage, self.epoch, samples=samples, batch_size=training.batch_size, steps=steps
        )
        network.train()
        sums = _Means(self.learner.device)
        for draws in batches:
            batch = self.learner.batch("train", list(self.world.slice(draws)))
            self.optimiser.zero_grad(set_to_none=True)
            with self._precision():
                losses = self.learner.losses(batch, self.plan)
                loss = weighted(losses, self.plan)
            loss.backward()  # type: ignore[no-untyped-call]
            self.world.average_gradients(network)
            self.optimiser.step()
            sums.add(loss, losses, len(draws))
            self.steps += 1
            self.progress(self.steps, total_steps(self.learner))
        row = {"stage": self.plan.name, "epoch": self.epoch, "step": self.steps, "lr": self._lr()}
        self.history.append(row | {"train": self._finite(sums.means(self.world))})
        self.epoch += 1

    def _validate(self) -> float:
        """Return the validation loss (the training loss where there is nothing to validate on), and record it."""
        samples = self.learner.samples("validation")
        row = self.history[-1]
        if not samples:
            return float(row["train"]["loss"])
        size = max(self.world.size, self.plan.training.batch_size)
        batches = fixed_batches(self.seed, Purpose.VALIDATION, samples=samples, batch_size=size)
        sums = _Means(self.learner.device)
        with evaluating(self.learner, self.plan.training, self.seed, self.world), torch.no_grad():
            for draws in batches:
                share = draws[self.world.rank :: self.world.size]
                batch = self.learner.batch("validation", share or draws[:1])  # without a share, a guest of no weight
                with self._precision():
                    losses = self.learner.losses(batch, self.plan)
                sums.add(weighted(losses, self.plan), losses, len(share))
        row["validation"] = self._finite(sums.means(self.world))
        return float(row["validation"]["loss"])

    def _judge(self, loss: float) -> None:
        """Keep the weights if they are the best so far; let the schedule see the loss."""
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(loss)
        elif self.schedule is not None:
            self.schedule.step()
        if loss < self.best:
            self.best, self.stale = loss, 0
            state = self.learner.network.state_dict()
            self.best_weights = {name: tensor.detach().clone() for name, tensor in state.items()}
        else:
            self.stale += 1
        self.history[-1]["best"] = self.stale == 0

    def _finite(self, means: dict[str, float]) -> dict[str, float]:
        for name, value in means.items():
            if not math.isfinite(value):
                raise MethodError(
                    f"'{name}' became {value} in stage '{self.plan.name}' by step {self.steps} (lr {self._lr():g})",
                    hint="Lower training.optimiser.lr, or check the data's intensities",
                )
        return means

    def _lr(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def _precision(self) -> AbstractContextManager[Any]:
        return autocast(self.learner.device, self.plan.training)

    def _checkpoint(self) -> None:
        due = time.monotonic() - self.saved_at >= self.every
        if self.folder and due and self.world.rank == 0:
            save_state(self.folder, self.state())
            self.saved_at = time.monotonic()

    def state(self) -> State:
        """Return all that the rest of the training depends on."""
        return {
            "stage": self.stage,
            "epoch": self.epoch,
            "stale": self.stale,
            "steps": self.steps,
            "history": self.history,
            "best": self.best,
            "best_weights": self.best_weights,
            "network": self.learner.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
        }

    def resume(self) -> None:
        """Go on from the folder's checkpoint, if there is one."""
        state = load_state(self.folder) if self.folder else None
        if state is None:
            return
        self.stage, self.epoch, self.stale = state["stage"], state["epoch"], state["stale"]
        self.steps, self.history = state["steps"], state["history"]
        self.best, self.best_weights = state["best"], state["best_weights"]
        self.learner.network.load_state_dict(state["network"])
        self._new_optimiser()
        if self.stage < len(self.learner.stages):
            self.optimiser.load_state_dict(state["optimiser"])
            if self.schedule:
                self.schedule.load_state_dict(state["schedule"])


class _Means:
    """Running means of losses, terms and measures, weighted by samples; kept on the device until asked for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, loss: Tensor, losses: Losses, samples: int) -> None:
        values = {"loss": loss, **losses.terms, **losses.measures}
        for name, value in values.items():
            term = value.detach().double() * samples
            self.sums[name] = self.sums[name] + term if name in self.sums else term
        self.count += samples

    def means(self, world: World) -> dict[str, float]:
        """Return the means over all ranks."""
        names = sorted(self.sums)
        flat = torch.stack(
            [self.sums[name] for name in names] + [torch.tensor(self.count, device=self.device).double()]
        )
        flat = world.total(flat)
        return {name: float(value) for name, value in zip(names, (flat[:-1] / flat[-1]).tolist(), strict=True)}


def weighted(losses: Losses, stage: Stage) -> Tensor:
    """Return the loss: the stage's weights over the losses' terms.

    Raises:
        MethodError: a weight's term was not computed.
    """
    absent = sorted(stage.weights.keys() - losses.terms.keys())
    if absent:
        raise MethodError(
            f"stage '{stage.name}' weighs '{absent[0]}', but the method's losses are {sorted(losses.terms)}",
            hint="Correct the method's stages() or losses()",
        )
    parts = [stage.weights[name] * term for name, term in losses.terms.items() if name in stage.weights]
    return torch.stack(parts).sum()


@contextlib.contextmanager
def evaluating(learner: Learner, training: Training, seed: int, world: World | None = None) -> Any:
    """Put the network into evaluation, batch norm as `training.norm_eval` says; afterwards back into training."""
    network = learner.network
    if training.norm_eval == "reestimated":
        calibrate(learner, training, seed, world)
    network.eval()
    with use_batch_statistics(network) if training.norm_eval == "batch" else contextlib.nullcontext():
        yield
    network.train()


def calibrate(learner: Learner, training: Training, seed: int, world: World | None = None) -> None:
    """Re-estimate the running statistics of every batch norm on training samples, always the same ones."""
    reestimate(learner.network, _calibration(learner, training, seed, world or World()), learner.device)


def _calibration(learner: Learner, training: Training, seed: int, world: World) -> Iterable[Tensor]:
    """Yield this rank's inputs: always of the first epoch's samples, whichever epoch this process happened to see."""
    learner.start_epoch(0, 0)
    batches = calibration_batches(
        seed, samples=learner.samples("train"), batch_size=training.batch_size, at_most=CALIBRATION_BATCHES
    )
    for draws in batches:
        yield learner.batch("train", list(world.slice(draws))).inputs


def epoch_steps(samples: int, training: Training, taken: int) -> int:
    """Return how many steps the next epoch has, after `taken` steps of all stages so far."""
    steps = training.steps_per_epoch or max(1, samples // training.batch_size)
    return min(steps, training.steps - taken) if training.steps is not None else steps


def total_steps(learner: Learner) -> int | None:
    """Return how many steps a training takes at most, or None where only patience ends it."""
    total = 0
    for stage in learner.stages:
        training = stage.training
        natural = training.epochs * epoch_steps(
            learner.samples("train"), training.model_copy(update={"steps": None}), 0
        )
        total = max(total, min(total + natural, training.steps)) if training.steps is not None else total + natural
        if training.patience is not None and training.steps is None and training.epochs > 1000:
            return None
    return total


def autocast(device: torch.device, training: Training) -> AbstractContextManager[Any]:
    """Return bfloat16 autocast where the device computes it and the setting allows, else nothing."""
    if device.type == "cuda" and training.precision == "auto" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _check_shares(learner: Learner, world: World) -> None:
    for stage in learner.stages:
        if stage.training.batch_size % world.size:
            raise UsageError(
                f"stage '{stage.name}': {world.size} workers cannot share batches of {stage.training.batch_size}",
                hint=f"Set training.batch_size to a multiple of {world.size}, or change `workers`",
            )


def _optimiser(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    settings = training.optimiser
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    return torch.optim.Adam(parameters, lr=settings.lr, weight_decay=settings.weight_decay)


def _schedule(optimiser: torch.optim.Optimizer, training: Training) -> Any:
    settings = training.schedule
    if settings.name == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, settings.every, settings.factor)
    if settings.name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, training.epochs), settings.min_lr)
    if settings.name == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser,
            factor=settings.factor,
            patience=settings.every - 1,  # Keras, whose settings these are, counts the epoch of the fall too
            threshold=settings.min_delta,
            threshold_mode="abs",
            min_lr=settings.min_lr,
        )
    return None


def _silent(done: int, total: int | None) -> None:
    """Report to no one."""
