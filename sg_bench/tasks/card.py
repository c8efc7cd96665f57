"""A task: one target with its data, split, head, fine-tuning protocol and metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from sg_bench.config import AddedLater, Model, NotInKey, Positive, Preparation, SpatialDims, Split, Training
from sg_bench.tasks.settings import DataChoice, Inference, Sampling

TaskKind = Literal["classification", "segmentation"]
Probe = Literal["linear", "knn"]


class Task(Model):
    """One target: data + split + head + fine-tuning protocol + metrics."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    version: Positive = 1
    """Changes whenever a result would."""
    title: Annotated[str, NotInKey()]
    kind: TaskKind
    dimension: SpatialDims = 3
    """Of the network: 2 for films, and for volumes slice by slice."""
    data: Annotated[DataChoice, NotInKey()]
    """Not in the key: the recipe of the store is."""
    preparation: Preparation = Preparation()
    split: Split = Field(default_factory=lambda: Split(train=0.7, validation=0.1, test=0.2))
    """A card that sets a part of it replaces all of it."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training cases that is used, nested from small to large under one seed."""
    shots: Annotated[Positive | None, AddedLater()] = None
    """Classification: train on so many samples of each class, of each finding; segmentation: on so many cases that show
    the target. Nested from few to many under one seed; None: all."""
    target: tuple[Annotated[int, Field(ge=1, le=255)], ...] = ()
    """segmentation: label-map values that count as foreground, taken together."""
    findings: tuple[str, ...] = ()
    """classification of whole images: the findings of the source to predict, one output each."""
    sampling: Sampling
    inference: Inference = Inference()
    frozen: bool = False
    """Train a linear head, or for segmentation a light decoder, on features that stay as they were pretrained."""
    probe: Annotated[Probe | None, AddedLater()] = None
    """Instead of fine-tuning, fit a classifier on frozen features: logistic regression, of images or of voxels, or for
    classification nearest neighbours."""
    loss: Literal["bce", "dice"]
    training: Training = Training()
    headline: str
    """The honest metric."""
    parity: str | None = None
    """The metric that published tables print, for comparison with them alone."""
    secondary: tuple[str, ...] = ()
    """Further metrics without which the headline would mislead; tables print them next to it."""
    follows: Annotated[str, NotInKey()] = ""
    """The published protocol, and how certain each choice is: verified, derived, recalled, or our choice."""
    note: Annotated[str, NotInKey()] = ""
    """A caution printed under every table that has this task."""
    variant: Annotated[str, NotInKey()] = ""
    """The chosen variants in canonical form, as "data=phantom,steps=80"; "" for the card as it is."""

    def without_effect(self) -> frozenset[str]:
        """Return the settings that other kinds of task, or other inference, would use."""
        classification, places = self.kind == "classification", self.sampling.places
        fixed = places == "foreground" and self.inference.mode == "crops"
        thinned = classification and places == "candidates" and self.sampling.validation_negatives is not None
        unused = set()
        if self.probe:
            unused |= {"frozen", "training", "sampling.shift", "sampling.flips", "sampling.validation_negatives"}
            unused.add("sampling.augmentation")
        if not fixed:
            unused.add("inference.crops_per_case")
        if self.inference.mode != "sliding_window":
            unused.add("inference.overlap")
        if not classification:
            unused |= {"sampling.balanced", "sampling.validation_negatives", "sampling.slices.scored"}
        if not (self.split.draws or fixed or thinned or self.probe):
            unused.add("split.seed")
        return frozenset(unused)

    @property
    def label(self) -> str:
        """Return the task's name with its variant, as tables print it."""
        return f"{self.name}[{self.variant}]" if self.variant else self.name

    @property
    def outputs(self) -> int:
        """Return the numbers that the network gives: of an image (classification) or of a voxel (segmentation)."""
        return max(1, len(self.findings))

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        segmentation = self.kind == "segmentation"
        if segmentation != bool(self.target):
            raise ValueError("a segmentation task needs `target` label values, a classification task has none")
        if segmentation != (self.loss == "dice"):
            raise ValueError(f"a {self.kind} task cannot be trained with the {self.loss} loss")
        if segmentation and self.probe == "knn":
            raise ValueError("nearest neighbours classify images; the probe of a segmentation is probe=linear")
        if (self.sampling.places == "image" and not segmentation) != bool(self.findings):
            raise ValueError("`findings` are for a classification of whole images, which needs them")
        if not segmentation and self.sampling.places == "foreground":
            raise ValueError("a classification task samples candidates or whole images: set sampling.places")
        flat = self.sampling.places == "image" or self.sampling.slices is not None
        if flat != (self.dimension == 2):
            raise ValueError("a 2D network sees whole films or slices: `dimension` and `sampling` do not fit")
        modes = {"image": {"ten_crop", "image"}, "candidates": {"crops"}, "foreground": {"crops", "sliding_window"}}
        if self.inference.mode not in modes[self.sampling.places]:
            raise ValueError(f"places '{self.sampling.places}' cannot be predicted by '{self.inference.mode}'")
        return self


class Offer(Model):
    """Variants of a card by axis and value; those chosen override the card in the order of their axes."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    variants: dict[str, dict[str, dict[str, Any]]] = {}
    default: dict[str, str] = {}
    """Chosen unless the task's reference chooses another."""
