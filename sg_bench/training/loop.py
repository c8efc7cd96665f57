"""The training loop shared by pretraining, the auto-encoder of self-discovery and fine-tuning."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sg_bench.config import Stage, Training
from sg_bench.errors import MethodError
from sg_bench.methods.base import Losses
from sg_bench.networks.memory import channels_last
from sg_bench.networks.norm import reestimate, use_batch_statistics
from sg_bench.training.checkpoints import (
    UNREADABLE,
    CheckpointState,
    check_moments,
    check_places,
    check_weights,
    load_state,
    save_state,
    set_state_aside,
)
from sg_bench.training.compilation import configure_compilation, without_compilation
from sg_bench.training.draws import Draw, calibration_batches, epoch_batches, validation_batches
from sg_bench.training.gradients import Gradients, StepMemory
from sg_bench.training.loader import Loader
from sg_bench.training.means import RunningMeans
from sg_bench.training.optimisation import changes_by_step, make_optimiser, make_schedule
from sg_bench.training.precision import autocast, configure_arithmetic
from sg_bench.training.ranks import World, check_batch_sizes
from sg_bench.training.steps import stage_steps, steps_per_epoch, total_steps

TrainingPart = Literal["train", "validation"]
"""The samples to optimise on, and those on which early stopping and schedules look."""
ProgressCallback = Callable[[int, int | None], None]
"""Called with the steps done, and the steps in total where they are known."""
CALIBRATION_BATCHES = 16
"""Training batches over which running statistics are re-estimated."""


class Learner(Protocol):
    """What the loop trains: a network, its data and its losses.

    `Pretraining` is a method on a corpus, `FineTuning` a task from an initialisation. A learner holds no random state:
    whatever is random in a batch comes from the generators of its draws.
    """

    network: nn.Module
    """Moved to `device` and trained in place; it holds the best weights of the last stage in the end."""
    stages: list[Stage]
    """The optimisations, in order; each starts from the best weights of the one before."""
    device: torch.device
    mean_over_samples: bool
    """Whether each term of the losses is the mean of terms of single samples (`Method.mean_over_samples`)."""

    def samples(self, part: TrainingPart) -> int:
        """Return the number of samples of a part, for "train" in the epoch that was started last.

        Without validation samples, the training loss takes the place of the validation loss.
        """

    def start_epoch(self, stage: int, epoch: int) -> None:
        """Select the training samples of an epoch, as a function of (stage, epoch) alone."""

    def batch(self, part: TrainingPart, draws: list[Draw]) -> Any:
        """Return the samples of `draws` as one batch on the CPU: a dataclass whose `inputs` go into the network.

        Several threads call it at the same time.
        """

    def losses(self, batch: Any, stage: Stage) -> Losses:
        """Apply the network to a batch and return at least the terms that `stage` gives a weight."""


@runtime_checkable
class SteppingLearner(Protocol):
    """A learner that takes part in every step, as `Pretraining` does for its method."""

    shares_validation: bool
    """Whether the ranks divide a batch of the validation; if not, every rank computes it completely."""
    keeps_last: bool
    """Whether a stage ends with its last weights after all its epochs, whatever the loss."""

    def join(self, world: World) -> None:
        """Compute with the other ranks of `world`."""

    def after_step(self, step: int, steps: int, losses: Losses) -> None:
        """Change the network after step `step` of a stage of `steps` at most, with the losses of its batch."""


def train(
    learner: Learner,
    *,
    seed: int,
    folder: Path | None = None,
    world: World | None = None,
    progress: ProgressCallback | None = None,
    checkpoint_seconds: float = 60.0,
    memory: StepMemory | None = None,
    world_sizes: list[int] | None = None,
) -> list[dict[str, Any]]:
    """Train through all stages and leave the best weights in the learner's network.

    Args:
        learner: what is trained.
        seed: seed of all random numbers (draws.py).
        folder: where rank 0 keeps checkpoints. An interrupted training resumes from there, on a CPU to the same bits,
            or with another number of processes.
        world: rank of this process, and the number of processes that share the training.
        progress: called after each step.
        checkpoint_seconds: least time between two checkpoints, which are written at the end of an epoch.
        memory: changed in place where a step runs out of memory, to be recorded.
        world_sizes: gets the numbers of processes that took part, one after the other, to be recorded.

    Returns:
        The curves: one row per epoch with stage, epoch, step, lr (after the epoch's last step), training losses,
        validation losses, and whether the epoch was the best one so far.

    Raises:
        MethodError: the loss became NaN or infinite.
        DataError: there are no training samples.
        UsageError: a batch cannot be divided equally among the processes.
    """
    run = _TrainingRun(
        learner,
        seed,
        folder,
        world or World(),
        progress or (lambda done, total: None),
        checkpoint_seconds,
        memory,
        world_sizes,
    )
    try:
        run.resume()
        while run.stage_index < len(learner.stages):
            run.train_stage()
    finally:
        run.loader.close()
    return run.history


class _TrainingRun:
    """A training with everything that changes in its course; `state()` is what a checkpoint holds."""

    def __init__(
        self,
        learner: Learner,
        seed: int,
        folder: Path | None,
        world: World,
        progress: ProgressCallback,
        checkpoint_seconds: float,
        memory: StepMemory | None = None,
        world_sizes: list[int] | None = None,
    ) -> None:
        self.learner, self.seed, self.folder, self.world = learner, seed, folder, world
        self.progress, self.checkpoint_seconds = progress, checkpoint_seconds
        self.loader = Loader(learner.device)
        self.gradients = Gradients(learner, weighted_loss, memory or StepMemory(), world)
        self.saved_at = time.monotonic()
        self.stage_index = self.epoch = self.stale_epochs = self.steps = 0
        self.history: list[dict[str, Any]] = []
        self.world_sizes = [] if world_sizes is None else world_sizes
        self.best_loss = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self.stepping = learner if isinstance(learner, SteppingLearner) else None
        check_batch_sizes(learner.stages, world)
        if self.stepping:
            self.stepping.join(world)
        channels_last(learner.network.to(learner.device))
        self._start_stage()

    @property
    def stage(self) -> Stage:
        return self.learner.stages[self.stage_index]

    @property
    def lr(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def train_stage(self) -> None:
        """Train the current stage to its end, restore its best weights, and start the next stage."""
        while not self._stage_done():
            self._train_epoch()
            loss = self._validate()
            if not changes_by_step(self.stage.training):
                self._step_schedule(loss)
            self._keep_best(loss)
            self._checkpoint()
        if self.best_weights is not None:
            self.learner.network.load_state_dict(self.best_weights)
        self.stage_index, self.epoch, self.stale_epochs = self.stage_index + 1, 0, 0
        self.best_loss, self.best_weights = math.inf, None
        self._start_stage()
        self._checkpoint()

    def _start_stage(self) -> None:
        """Create the optimiser and the schedule of the current stage, if any stage is left."""
        if self.stage_index < len(self.learner.stages):
            training = self.stage.training
            configure_arithmetic(training)
            configure_compilation(self.learner.network, training)
            if changes_by_step(training):
                self.learner.start_epoch(self.stage_index, 0)  # an epoch's samples can be fewer than all
            self.optimiser = make_optimiser(self.learner.network, training)
            self.schedule = make_schedule(self.optimiser, training, stage_steps(self.learner, training, self.steps))

    def _stage_done(self) -> bool:
        training = self.stage.training
        if training.patience is not None and self.stale_epochs >= training.patience:
            return True
        return self.epoch >= training.epochs or (training.steps is not None and self.steps >= training.steps)

    def _train_epoch(self) -> None:
        """Take the steps of one epoch and append its row to the history."""
        training, network = self.stage.training, self.learner.network
        if self.world_sizes[-1:] != [self.world.size]:
            self.world_sizes.append(self.world.size)
        self.learner.start_epoch(self.stage_index, self.epoch)
        samples = self.learner.samples("train")
        steps = steps_per_epoch(samples, training)
        if training.steps is not None:
            steps = min(steps, training.steps - self.steps)
        batches = epoch_batches(
            self.seed, self.stage_index, self.epoch, samples=samples, batch_size=training.batch_size, steps=steps
        )
        network.train()
        means = RunningMeans(self.learner.device)
        earlier = self.history[: len(self.history) - self.epoch]  # epochs of the stages before this one
        begun = earlier[-1]["step"] if earlier else 0
        planned, most = total_steps(self.learner), stage_steps(self.learner, training, begun)
        shares = (self.world.share(draws, training.at_once) for draws in batches)
        for batch in self.loader.batches(partial(self.learner.batch, "train"), shares):
            loss, losses = self.gradients.compute(batch, self.stage)
            self.optimiser.step()
            if changes_by_step(training):
                self.schedule.step()
            means.add(loss, losses, training.batch_size)
            self.steps += 1
            if self.stepping:
                self.stepping.after_step(self.steps - begun, most, losses)
            self.progress(self.steps, planned)
        row = {"stage": self.stage.name, "epoch": self.epoch, "step": self.steps, "lr": self.lr}
        self.history.append(row | {"train": self._checked(means.compute(self.world))})
        self.epoch += 1

    def _validate(self) -> float:
        """Record and return the validation loss; without validation samples return the training loss."""
        samples, training, row = self.learner.samples("validation"), self.stage.training, self.history[-1]
        if not samples:
            return float(row["train"]["loss"])
        size = max(self.world.size, training.at_once)
        means = RunningMeans(self.learner.device)
        with evaluating(self.learner, training, self.seed, self.world), torch.no_grad():
            batches = list(validation_batches(self.seed, samples=samples, batch_size=size))
            shares = batches
            if self.stepping is None or self.stepping.shares_validation:
                shares = [draws[self.world.rank :: self.world.size] for draws in batches]
            # In the last batch a rank may be left without samples. It still takes part in what ranks compute
            # together, with one padding sample of weight 0.
            padded = [share or draws[:1] for share, draws in zip(shares, batches, strict=True)]
            made = self.loader.batches(partial(self.learner.batch, "validation"), padded)
            for share, batch in zip(shares, made, strict=True):
                with autocast(self.learner.device, training.precision):
                    losses = self.learner.losses(batch, self.stage)
                means.add(weighted_loss(losses, self.stage), losses, len(share))
        row["validation"] = self._checked(means.compute(self.world))
        return float(row["validation"]["loss"])

    def _step_schedule(self, loss: float) -> None:
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(loss)
        elif self.schedule is not None:
            self.schedule.step()

    def _keep_best(self, loss: float) -> None:
        """Copy the weights if their loss is the best of the stage so far, unless the last ones are kept anyway."""
        if self.stepping and self.stepping.keeps_last:
            self.best_loss = loss
        elif loss < self.best_loss:
            self.best_loss, self.stale_epochs = loss, 0
            self.best_weights = _copied(self.learner.network)
        else:
            self.stale_epochs += 1
        self.history[-1]["best"] = self.stale_epochs == 0

    def _checked(self, means: dict[str, float]) -> dict[str, float]:
        """Return `means`; raise a MethodError if one of them is NaN or infinite."""
        for name, value in means.items():
            if not math.isfinite(value):
                raise MethodError(
                    f"'{name}' became {value} in stage '{self.stage.name}' by step {self.steps} (lr {self.lr:g})",
                    hint="Lower training.optimiser.lr, or check the data's intensities",
                )
        return means

    def _checkpoint(self) -> None:
        due = time.monotonic() - self.saved_at >= self.checkpoint_seconds
        if self.folder and due and self.world.rank == 0:
            save_state(self.folder, self.state())
            self.saved_at = time.monotonic()

    def state(self) -> CheckpointState:
        """Return everything that the rest of the training depends on."""
        return {
            "stage": self.stage_index,
            "epoch": self.epoch,
            "stale": self.stale_epochs,
            "steps": self.steps,
            "history": self.history,
            "world_sizes": self.world_sizes,
            "best": self.best_loss,
            "best_weights": self.best_weights,
            "network": self.learner.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
        }

    def resume(self) -> None:
        """Continue from the folder's checkpoint, which rank 0 reads; if none fits, start from the beginning."""
        if self.folder is not None:
            state = self.world.decide(self._resumed)
            if self.world.rank > 0 and state is not None:
                self._restore(state)

    def _resumed(self) -> CheckpointState | None:
        """Restore and return the folder's checkpoint, or None if there is none that fits."""
        assert self.folder is not None
        state = load_state(self.folder)
        if state is None:
            return None
        begun = {**self.state(), "network": _copied(self.learner.network)}
        try:
            self._restore(state)
        except UNREADABLE as error:  # a field is missing, or tensors are those of another network
            set_state_aside(self.folder, error)
            self._restore(begun)
            return None
        return state

    def _restore(self, state: CheckpointState) -> None:
        self.stage_index, self.epoch, self.stale_epochs = state["stage"], state["epoch"], state["stale"]
        self.steps, self.history = state["steps"], state["history"]
        self.world_sizes[:] = state.get("world_sizes", [])  # earlier versions kept none
        self.best_loss, self.best_weights = state["best"], state["best_weights"]
        check_places([self.stage_index, self.epoch, self.stale_epochs, self.steps], len(self.learner.stages))
        check_weights(self.learner.network, self.best_weights)
        self.learner.network.load_state_dict(state["network"])
        self._start_stage()
        if self.stage_index < len(self.learner.stages):
            self.optimiser.load_state_dict(state["optimiser"])
            check_moments(self.optimiser)
            if self.schedule:
                self.schedule.load_state_dict(state["schedule"])


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def weighted_loss(losses: Losses, stage: Stage) -> Tensor:
    """Return the sum of the losses' terms, weighted by the stage; terms without a weight are left out.

    Raises:
        MethodError: the stage gives a weight to a term that was not computed.
    """
    absent = sorted(stage.weights.keys() - losses.terms.keys())
    if absent:
        raise MethodError(
            f"stage '{stage.name}' weighs '{absent[0]}', but the method's losses are {sorted(losses.terms)}",
            hint="Correct the method's stages() or losses()",
        )
    weighted = [stage.weights[name] * term for name, term in losses.terms.items() if name in stage.weights]
    return torch.stack(weighted).sum()


@contextlib.contextmanager
def evaluating(learner: Learner, training: Training, seed: int, world: World | None = None) -> Iterator[None]:
    """Put the network into evaluation mode, with batch norm as in `training.norm_eval`, and afterwards back."""
    network = learner.network
    configure_arithmetic(training)
    if training.norm_eval == "reestimated":
        calibrate(learner, training, seed, world)
    network.eval()
    batch_statistics = use_batch_statistics(network) if training.norm_eval == "batch" else contextlib.nullcontext()
    with batch_statistics, without_compilation(network):
        yield
    network.train()


def calibrate(learner: Learner, training: Training, seed: int, world: World | None = None) -> None:
    """Re-estimate the running statistics of every batch norm on training samples, the same ones every time."""
    reestimate(learner.network, _calibration_inputs(learner, training, seed, world or World()), learner.device)


def _calibration_inputs(learner: Learner, training: Training, seed: int, world: World) -> Iterable[Tensor]:
    """Yield this rank's inputs. They are samples of the first epoch, so that a resumed training sees the same."""
    learner.start_epoch(0, 0)
    batches = calibration_batches(
        seed, samples=learner.samples("train"), batch_size=training.at_once, at_most=CALIBRATION_BATCHES
    )
    for draws in batches:
        yield learner.batch("train", list(world.slice(draws))).inputs
