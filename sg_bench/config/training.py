"""Settings of one optimisation: optimiser, schedule, length, precision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sg_bench.config.model import Fraction, Model, Positive


class Optimiser(Model):
    """Adam or SGD, with the papers' settings as defaults."""

    name: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Fraction = 0.9
    """SGD only."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Schedule(Model):
    """How the learning rate falls."""

    name: Literal["constant", "plateau", "step", "cosine"] = "plateau"
    """cosine: down to `min_lr` over the stage's epochs, or where `steps` is given, step by step over the stage's steps;
    step: by epochs with either budget."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    every: Positive = 40
    """step: epochs between two falls; plateau: so many stale epochs in a row bring a fall."""
    min_delta: Annotated[float, Field(ge=0)] = 1e-4
    min_lr: Annotated[float, Field(ge=0)] = 1e-6


class Training(Model):
    """One optimisation: how long, how fast, when to stop."""

    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    batch_size: Positive = 16
    """Samples a step over all workers together."""
    epochs: Annotated[int, Field(ge=0)] = 10_000
    steps_per_epoch: Positive | None = None
    """None: one pass over the training samples."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """Stop after so many steps in all, those of earlier stages included, even inside an epoch; None: only `epochs`
    and `patience` stop."""
    patience: Positive | None = 50
    """Stop after so many epochs without a better validation loss; None: never."""
    norm_eval: Literal["running", "reestimated", "batch"] = "running"
    """Batch norm in evaluation: running averages; the same re-estimated on training crops first; or, as the
    official code does, the statistics of the evaluated batch itself."""
    precision: Literal["auto", "float32"] = "auto"
    """auto: bfloat16 autocast on a GPU that has it; a CPU always computes in float32."""


class Stage(Model):
    """One optimisation of a training: a warm-up, say, and the joint one after it."""

    name: str
    training: Training
    weights: dict[str, float]
    """Weight of each named term of the loss; a term that is not named is not computed."""
