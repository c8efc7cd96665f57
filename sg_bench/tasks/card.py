"""A task: one target with its data, split, head, fine-tuning protocol and metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Field, field_validator, model_validator

from sg_bench.config import AddedLater, Model, NotInKey, Positive, Preparation, SpatialDims, Split, Training
from sg_bench.tasks.settings import DataChoice, Inference, Sampling

TaskKind = Literal["classification", "segmentation", "regression"]
LossName = Literal["bce", "cross_entropy", "dice", "dice_ce", "mse"]
Probe = Literal["linear", "knn"]
LabelValue = Annotated[int, Field(ge=0, le=255)]
LOSSES: dict[str, tuple[LossName, ...]] = {
    "several masks": ("dice", "dice_ce", "cross_entropy"),
    "overlapping masks": ("dice", "dice_ce"),
    "one mask": ("dice", "dice_ce"),
    "yes or no": ("bce",),
    "one of several classes": ("cross_entropy",),
    "a number": ("mse",),
}
"""Losses by what a network gives for an image, or for a voxel."""
METRIC_WORDS = frozenset({"bin", "case", "keras", "mean", "positive"})
"""Names that no class has, as `dice_<class>` would be another metric."""


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
    classes: Annotated[dict[LabelValue, str] | tuple[str, ...], AddedLater()] = ()
    """segmentation: name of each label-map value that is a class of its own, as {1: anterior, 2: posterior}; every
    voxel is of one class or background. classification by `label`: what the column holds, or a name for each number in
    it; of two classes the second is the positive one."""
    regions: Annotated[dict[str, tuple[Annotated[int, Field(ge=1, le=255)], ...]], AddedLater()] = {}
    """segmentation: label-map values of each region; regions may overlap, as {whole: [1, 2, 4], core: [1, 4]}."""
    findings: tuple[str, ...] = ()
    """classification of whole images: the findings of the source to predict, or columns of 0 and 1 of the user's table,
    one output each."""
    label_column: Annotated[str, AddedLater(), Field(validation_alias=AliasChoices("label", "label_column"))] = ""
    """classification of whole images: the column of the user's table with the class; a card writes it as `label`."""
    value_column: Annotated[str, AddedLater(), Field(validation_alias=AliasChoices("value", "value_column"))] = ""
    """regression: the column of the user's table with the number; a card writes it as `value`."""
    sampling: Sampling
    inference: Inference = Inference()
    frozen: bool = False
    """Train a linear head, or for segmentation a light decoder, on features that stay as they were pretrained."""
    probe: Annotated[Probe | None, AddedLater()] = None
    """Instead of fine-tuning, fit a classifier on frozen features: logistic regression, of images or of voxels, or for
    classification nearest neighbours."""
    loss: LossName
    """bce: binary cross-entropy of each output; cross_entropy: of classes that exclude each other; dice: soft Dice, the
    mean over classes; dice_ce: the sum of soft Dice and cross-entropy; mse: squared error of standardised values."""
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
    def masks(self) -> dict[str, tuple[int, ...]]:
        """Return the label-map values of each class or region by name; that of `target` has the name ""."""
        if self.kind != "segmentation":
            return {}
        if self.target:
            return {"": self.target}
        if isinstance(self.classes, dict) and self.classes:
            return {name: (value,) for value, name in sorted(self.classes.items())}
        return dict(sorted(self.regions.items()))  # a key does not hold the order of a mapping

    @property
    def foreground(self) -> tuple[int, ...]:
        """Return all label-map values of the target, or of a class or region."""
        return tuple(sorted({value for values in self.masks.values() for value in values}))

    @property
    def column_classes(self) -> dict[str, str]:
        """Return the name of each class of a classification by `label`, by the text that the column holds."""
        if self.kind != "classification":
            return {}
        if isinstance(self.classes, dict):
            return {str(value): name for value, name in sorted(self.classes.items())}
        return {name: name for name in self.classes}

    @property
    def exclusive(self) -> bool:
        """Return whether the outputs are classes of which an image, or a voxel, has one."""
        return len(self.column_classes) > 2 or bool(self.kind == "segmentation" and self.classes)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Return the names of what is scored, where it is several: findings, classes or regions."""
        if self.kind == "segmentation":
            return () if self.target else tuple(self.masks)
        return tuple(self.column_classes.values()) if self.exclusive else self.findings

    @property
    def outputs(self) -> int:
        """Return the numbers that the network gives: of an image, or of a voxel (with classes: background first)."""
        return max(1, len(self.output_names)) + (self.kind == "segmentation" and self.exclusive)

    @property
    def _outcome(self) -> str:
        """Return what the network gives, as in `LOSSES`."""
        if self.kind == "segmentation":
            return "one mask" if self.target else "several masks" if self.exclusive else "overlapping masks"
        if self.kind == "classification":
            return "one of several classes" if self.exclusive else "yes or no"
        return "a number"

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        """Return a list of classes with its numbers as texts: a column of 0 and 1 has the classes "0" and "1"."""
        return [str(each) if type(each) is int else each for each in given] if isinstance(given, list) else given

    @model_validator(mode="after")
    def _named(self) -> Task:
        segmentation, by_value = self.kind == "segmentation", isinstance(self.classes, dict)
        if segmentation and sum(map(bool, (self.target, self.classes, self.regions))) != 1:
            raise ValueError(
                "a segmentation task needs `target` (label values taken together), `classes` (a name for each value) "
                "or `regions` (values of each, which may overlap)"
            )
        if not segmentation and (self.target or self.regions):
            what = "target" if self.target else "regions"
            raise ValueError(f"`{what}` are values of a label map: a {self.kind} task has none")
        if segmentation and self.classes and (not by_value or 0 in self.classes):
            raise ValueError("`classes` of a segmentation are names by label value from 1 on, as {1: anterior}")
        if (self.kind == "regression") != bool(self.value_column):
            raise ValueError("a regression task needs `value`: the column of its numbers; other tasks have none")
        by_column = self.kind == "classification" and bool(self.label_column)
        if by_column != bool(self.column_classes) or by_column != bool(self.label_column):
            raise ValueError("classification by a column needs `label`: the column, and `classes`: what it holds")
        names = self.output_names or tuple(self.column_classes.values())
        if len(set(names)) < len(names) or (self.label_column and len(names) < 2):
            raise ValueError(f"there must be two classes or more with names of their own, not {list(names)}")
        reserved = sorted(METRIC_WORDS.intersection(names))
        if reserved or any(not name or "," in name for name in names):
            raise ValueError(f"a class needs a name without commas other than {', '.join(sorted(METRIC_WORDS))}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        segmentation, places = self.kind == "segmentation", self.sampling.places
        if self.loss not in LOSSES[self._outcome]:
            allowed = " or ".join(LOSSES[self._outcome])
            raise ValueError(
                f"a {self.kind} task cannot be trained with the {self.loss} loss: for {self._outcome} it is {allowed}"
            )
        if segmentation and self.probe == "knn":
            raise ValueError("nearest neighbours classify images; the probe of a segmentation is probe=linear")
        if segmentation and self.probe and not self.target:
            raise ValueError("probe=linear separates one foreground from the rest: for several use protocol=frozen")
        of_images = bool(self.findings or self.label_column or self.value_column)
        if (places == "image" and not segmentation) != of_images:
            raise ValueError(
                "a classification of whole images needs `findings`, or `label` with `classes`, and places 'image'"
            )
        if self.findings and self.label_column:
            raise ValueError("`findings` are columns of 0 and 1, `label` is one column of classes: choose one")
        if not segmentation and places == "foreground":
            raise ValueError(f"a {self.kind} task samples candidates or whole images: set sampling.places")
        flat = (places == "image" and self.sampling.patch[2] == 1) or self.sampling.slices is not None
        if flat != (self.dimension == 2):
            raise ValueError("a 2D network sees whole films or slices: `dimension` and `sampling` do not fit")
        if self.sampling.slices and not self.target and segmentation:
            raise ValueError("slices of crops are segmented for one `target`, not for several classes or regions")
        modes = {"image": {"ten_crop", "image"}, "candidates": {"crops"}, "foreground": {"crops", "sliding_window"}}
        if places == "image" and (segmentation or not flat):
            modes["image"] = {"image"}  # ten crops are those of a film, whose class is that of all
        if self.inference.mode not in modes[places]:
            raise ValueError(f"places '{places}' cannot be predicted by '{self.inference.mode}'")
        return self


class Offer(Model):
    """Variants of a card by axis and value; those chosen override the card in the order of their axes."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    variants: dict[str, dict[str, dict[str, Any]]] = {}
    default: dict[str, str] = {}
    """Chosen unless the task's reference chooses another."""
