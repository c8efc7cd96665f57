"""Settings of one optimisation: optimiser, schedule, length, precision."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sg_bench.config.model import AddedLater, Fraction, Model, Positive

Precision = Literal["float32", "tf32", "bfloat16"]
Decay = Annotated[float, Field(ge=0, lt=1)]


def explicit_precision(given: Any) -> Any:
    """Return a given precision.

    Raises:
        ValueError: it is "auto", which results of earlier versions were computed with.
    """
    if given == "auto":
        raise ValueError("'auto' would give other numbers on another device: choose float32, tf32 or bfloat16")
    return given


class Optimiser(Model):
    """Adam, AdamW or SGD, with the papers' settings as defaults."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """adamw: Adam whose weight decay is not part of the gradient (Loshchilov and Hutter 2019)."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Fraction = 0.9
    """SGD only."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Adam, AdamW: decay of the running means of the gradient and of its square; those of Keras and of PyTorch."""
    eps: Annotated[float, Field(gt=0)] = 1e-7
    """Adam, AdamW: added to the denominator. 1e-7 is the default of Keras, with which the papers trained (protocol B.0,
    verified); PyTorch's is 1e-8, and the cards of targets whose published code is PyTorch's set that."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    def without_effect(self) -> frozenset[str]:
        """Return the settings of the other optimiser."""
        return frozenset({"betas", "eps"} if self.name == "sgd" else {"momentum"})


class Schedule(Model):
    """How the learning rate falls, epoch by epoch."""

    name: Literal["constant", "plateau", "step", "cosine"] = "plateau"
    """cosine: down to `min_lr` over the stage's epochs, or where `steps` is given, step by step over the stage's steps;
    step: by epochs with either budget."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    every: Positive = 40
    """step: epochs between two decreases; plateau: epochs without improvement before a decrease."""
    min_delta: Annotated[float, Field(ge=0)] = 1e-4
    """plateau: least decrease of the validation loss that counts as an improvement."""
    min_lr: Annotated[float, Field(ge=0)] = 1e-6

    def without_effect(self) -> frozenset[str]:
        """Return the settings that the chosen schedule does not use."""
        used = {
            "constant": set[str](),
            "plateau": {"factor", "every", "min_delta", "min_lr"},
            "step": {"factor", "every"},
            "cosine": {"min_lr"},
        }
        return frozenset({"factor", "every", "min_delta", "min_lr"} - used[self.name])


class Training(Model):
    """One optimisation: how long, how fast, when to stop."""

    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    batch_size: Positive = 16
    """Samples in each step, over all workers together."""
    epochs: Annotated[int, Field(ge=0)] = 10_000
    steps_per_epoch: Positive | None = None
    """None: one pass over the training samples."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """Stop after so many steps in all, those of earlier stages included, even inside an epoch; None: no such limit."""
    patience: Positive | None = 50
    """Stop after so many epochs without a better validation loss; None: never."""
    norm_eval: Literal["running", "reestimated", "batch"] = "running"
    """Statistics of batch norm in evaluation: running averages; the same re-estimated on training crops first; or, as
    in the official code, those of the evaluated batch."""
    precision: Precision = "float32"
    """Arithmetic of convolutions and products, on every device. float32: IEEE single precision; tf32: inputs of matrix
    products and convolutions rounded to TensorFloat-32 where the device has it; bfloat16: autocast."""

    deterministic: Annotated[bool, AddedLater()] = True
    """Use algorithms that give the same bits every time where the device has them; False: the fastest ones of a GPU,
    chosen by measuring (cuDNN's benchmark). On a CPU both compute the same."""
    micro_batch: Annotated[Positive | None, AddedLater()] = None
    """Samples whose gradient is computed at once, over all workers together; it divides `batch_size`. The gradients of
    a batch are added, so the optimiser sees `batch_size` samples; but batch norm normalises each micro-batch with its
    own statistics, as do validation and its batches, which computes other numbers. None: the complete batch; if a GPU
    lacks the memory for it, a way is taken that computes the same (`training/gradients.py`)."""
    compile: Annotated[bool, AddedLater()] = False
    """Compile the network with `torch.compile` for training steps: faster on a GPU after a minute of compiling, with
    other rounding. Evaluation is not compiled."""

    @field_validator("precision", mode="before")
    @classmethod
    def _explicit(cls, given: Any) -> Any:
        return explicit_precision(given)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(f"micro_batch {self.micro_batch} must divide batch_size {self.batch_size}")
        return self

    @property
    def at_once(self) -> int:
        """Return the most samples that go through the network at once, over all workers together."""
        return self.micro_batch or self.batch_size


class Stage(Model):
    """One optimisation of a training, such as a warm-up or the joint training after it."""

    name: str
    training: Training
    weights: dict[str, float]
    """Weight of each term of the loss; other terms are not computed."""
