"""How many steps a training takes at most, in an epoch, in a stage and in total."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.config import Training

if TYPE_CHECKING:
    from sg_bench.training.loop import Learner


def steps_per_epoch(samples: int, training: Training) -> int:
    """Return the steps of an epoch of `samples`: by default one pass in full batches."""
    return training.steps_per_epoch or max(1, samples // training.batch_size)


def stage_steps(learner: Learner, training: Training, taken: int) -> int:
    """Return the most steps that a stage takes, after `taken` steps of the stages before it."""
    steps = training.epochs * steps_per_epoch(learner.samples("train"), training)
    return steps if training.steps is None else max(0, min(steps, training.steps - taken))


def total_steps(learner: Learner) -> int | None:
    """Return the most steps that a training takes, or None if only patience ends it."""
    total = 0
    for stage in learner.stages:
        training = stage.training
        if training.patience is not None and training.steps is None and training.epochs > 1000:
            return None
        total += stage_steps(learner, training, total)
    return total
