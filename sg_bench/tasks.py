"""Reads tasks/*.yaml, and a user's own card, into Task.

A task's name may choose variants: `ncs[data=phantom-clean]`, `lcs[steps=240]`, `ncc[fraction=0.1,protocol=frozen]`.
`data`, `protocol` and the like pick one of the card's own variants; `steps`, `fraction`, `shots` and `probe` exist for
every card.
"""

from __future__ import annotations

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from sg_bench import resources
from sg_bench.config import (
    AddedLater,
    Border,
    Fraction,
    Model,
    NotInKey,
    Positive,
    Preparation,
    Shape,
    SpatialDims,
    Split,
    Training,
    merged,
)
from sg_bench.errors import UsageError, did_you_mean

TaskKind = Literal["classification", "segmentation"]
Probe = Literal["linear", "knn"]
M = TypeVar("M", bound=Model)
DERIVED = frozenset({"folder", "variant"})
"""Fields that reading fills in and no file may contain."""
WHOLE = frozenset({"data", "preparation", "split"})
"""Fields that a variant replaces as a whole: other data, another split."""
COMMON_AXES = ("steps", "fraction", "shots", "probe")
"""Variants that every card has."""


class DataChoice(Model):
    """Which data set a task reads, and how."""

    name: str
    """Its name in `--data NAME=PATH`; tasks with the same data and preparation share a store."""
    source: str
    config: dict[str, Any] = {}
    """Settings of the source, checked against its own config."""


class Slices(Model):
    """Crops of a volume as a 2D network sees them: one axial slice at a time."""

    size: Positive = 224
    """Side in pixels that each slice is resized to."""
    scored: Positive = 8
    """classification: number of middle slices that are scored by their mean logit; training draws one of them."""


class Augmentation(Model):
    """Random variation of training films (training/augmentation.py); by default none."""

    area: tuple[Fraction, Fraction] | None = None
    """Share of the film that a random crop keeps, at an aspect of 3/4 to 4/3, before it is resized to the patch."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Greatest rotation, in degrees, either way."""
    zoom: Fraction = 0.0
    """Chance of a square crop of `zoom_least` to all of the film's side."""
    zoom_least: Annotated[float, Field(gt=0, le=1)] = 0.7
    intensity: Fraction = 0.0
    """Chance of another brightness and contrast, or of another gamma."""
    distortion: Fraction = 0.0
    """Chance of one of three distortions: elastic, of a grid, of a lens."""

    def without_effect(self) -> frozenset[str]:
        """Return `zoom_least` where no film is zoomed."""
        return frozenset() if self.zoom else frozenset({"zoom_least"})


class Sampling(Model):
    """Which crops of an image a network is trained on."""

    places: Literal["candidates", "foreground", "image"]
    """candidates: one crop round each candidate; foreground: crops anywhere, often centred in the target; image: the
    whole image, or its middle where the patch is smaller."""
    patch: Shape = (64, 64, 32)
    """Voxels that the network sees; a film's last side is 1."""
    window: Shape | None = None
    """Voxels that are cut, where these are others than `patch`, and then resized to it."""
    border: Border = (0, 0, 0)
    """foreground: voxels on either side of the image that no crop reaches, where it is large enough."""
    crops_per_case: Positive = 16
    """foreground: crops of each image in one epoch."""
    centred: Fraction = 0.5
    """foreground: share of crops with their centre in the target; the others are anywhere."""
    target_fraction: tuple[Fraction, Fraction] = (0.0, 1.0)
    """foreground: a crop with less or more target is drawn again (at most 20 times)."""
    shift: Annotated[int, Field(ge=0)] = 0
    """candidates: greatest random offset of a training crop, in voxels, along each axis."""
    flips: tuple[bool, bool, bool] = (True, True, False)
    """Axes x, y, z that a training crop is mirrored along with probability 1/2."""
    balanced: bool = True
    """candidates, classification: every epoch takes as many negatives, drawn anew, as there are positives."""
    validation_negatives: Positive | None = None
    """candidates, classification: negatives for each positive in validation, the same in every epoch; None: all."""
    slices: Slices | None = None
    """candidates: how a 2D network sees the crops of a volume."""
    augmentation: Augmentation = Augmentation()
    """image: how a training film is varied."""

    def without_effect(self) -> frozenset[str]:
        """Return the settings of other `places`."""
        foreground = {"border", "crops_per_case", "centred", "target_fraction"}
        candidates = {"shift", "balanced", "validation_negatives"}
        unused = {"candidates": foreground, "foreground": candidates, "image": foreground | candidates}
        return frozenset(unused[self.places] | (set() if self.places == "image" else {"augmentation"}))

    @property
    def cut(self) -> Shape:
        """Return the voxels that are cut from an image."""
        return self.window or self.patch

    @property
    def input_shape(self) -> Shape:
        """Return the voxels of what enters the network."""
        return (self.slices.size, self.slices.size, 1) if self.slices else self.patch

    @model_validator(mode="after")
    def _possible(self) -> Sampling:
        if self.places == "image":
            if self.patch[2] != 1 or any(side % 32 for side in self.patch[:2]):
                raise ValueError(f"a film's patch must be (x, y, 1) with x, y multiples of 32, not {self.patch}")
        elif any(side % 8 for side in self.patch):
            raise ValueError(f"patch sides must be divisible by 8 (three poolings), not {self.patch}")
        if self.slices and (self.places != "candidates" or self.slices.size % 32):
            raise ValueError("slices are those of candidates' crops, with a size that is a multiple of 32")
        if self.target_fraction[0] > self.target_fraction[1]:
            raise ValueError(f"target_fraction must be (least, most) with least <= most, not {self.target_fraction}")
        return self


class Inference(Model):
    """Prediction of complete images."""

    mode: Literal["crops", "sliding_window", "ten_crop", "image"] = "crops"
    """crops: candidates' crops, or for foreground tasks a fixed, seeded set; sliding_window: the whole volume;
    ten_crop: a film's corners and middle, mirrored too, probabilities averaged; image: a film's middle patch."""
    crops_per_case: Positive = 4
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """sliding_window: overlap of neighbouring windows; probabilities are averaged."""


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


def read_task(reference: str, folder: Path | None = None) -> Task:
    """Return the task that `reference` names: `ncs`, `ncs[data=phantom]`, or a card's path with variants likewise.

    Args:
        reference: a name or the path of a card (.yaml), relative to `folder`.
        folder: where relative paths start; None means the current folder.

    Raises:
        UsageError: no such card or variant, or a setting of the card is unknown or invalid.
    """
    name, choices = parse_reference(reference)
    path = _card_path(name, folder)
    card = read_yaml(path)
    offer = validated(Offer, {name: card.pop(name) for name in ("variants", "default") if name in card}, str(path))
    for axis, value in sorted({**offer.default, **choices}.items()):
        overlay = _overlay(axis, value, offer.variants, path)
        card = merged({key: part for key, part in card.items() if key not in WHOLE & overlay.keys()}, overlay)
    canonical = ",".join(f"{axis}={value}" for axis, value in sorted(choices.items()))
    return validated(Task, {**card, "variant": canonical}, str(path))


def parse_reference(reference: str) -> tuple[str, dict[str, str]]:
    """Split "ncs[data=x,steps=80]" into its name and its choices by axis."""
    match = re.fullmatch(r"([^\[\]]+?)(?:\[([^\[\]]*)\])?", reference.strip())
    pairs = [pair.partition("=") for pair in (match[2] or "").split(",") if pair.strip()] if match else []
    choices = {axis.strip(): value.strip() for axis, _, value in pairs}
    if not match or len(choices) < len(pairs) or not all(axis and value for axis, value in choices.items()):
        raise UsageError(f"'{reference}' is not a task", hint="Write it as ncs or ncs[data=phantom,steps=80]")
    return match[1], choices


def fine_tunes_all(reference: str) -> bool:
    """Return whether a task is fine-tuned on all training cases: not a fraction, not some shots, not a probe."""
    return not {"fraction", "shots", "probe"} & parse_reference(reference)[1].keys()


def is_path(name: str) -> bool:
    """Return whether a task's or suite's name is a file's."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        UsageError: the file is absent, not YAML, or not a mapping.
    """
    try:
        content = deepcopy(_parsed(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", hint="Check the path") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: not valid YAML: {_what_and_where(error)}", hint="Correct the file") from error
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds a {type(content).__name__}, not settings"
        raise UsageError(f"{path}: {what}", hint="Write `name: ...` lines")
    derived = sorted(DERIVED & content.keys())
    if derived:
        raise UsageError(f"{path}: unknown setting '{derived[0]}'", hint="Remove it")
    return content


@lru_cache(maxsize=256)
def _parsed(text: bytes) -> Any:
    """Return the content of a YAML text; do not change it, as it is shared. A card is read several times a command."""
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that refuses doubled keys


class _Loader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"'{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
        return node


def _what_and_where(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def validated(model: type[M], content: dict[str, Any], where: str) -> M:
    """Return `content` as a `model`.

    Raises:
        UsageError: names the first wrong setting, its value, and the nearest setting that exists.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{where}: {_first_problem(model, error)}", hint="Correct it and run again") from error


def _first_problem(model: type[Model], error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_settings(model, first["loc"][:-1])
        return f"unknown setting '{name}'{more}. {did_you_mean(str(first['loc'][-1]), known)}"
    obvious = first["type"] == "missing" or isinstance(first["input"], (dict, Model))
    setting = f"'{name}'" if obvious else f"'{name}' = {first['input']!r:.80}"
    return f"{setting + ': ' if name else ''}{first['msg'].removeprefix('Value error, ')}{more}"


def _known_settings(model: type[Model], location: tuple[int | str, ...]) -> list[str]:
    """Return the known settings at the place of an unknown one, following `location` into `model`."""
    inner: Any = model
    for part in location:
        found = _setting_in(inner)
        if found:
            field = found.model_fields.get(str(part))
            inner = field.annotation if field else None
        else:
            inner = (get_args(inner) or (None,))[-1]
    found = _setting_in(inner)
    return sorted(set(found.model_fields) - DERIVED) if found else []


def _setting_in(annotation: Any) -> type[Model] | None:
    """Return the `Model` in an annotation such as `Crops | None`, if any."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    if get_origin(annotation) in (list, tuple, dict):
        return None
    return next((found for part in get_args(annotation) if (found := _setting_in(part))), None)


def _card_path(name: str, folder: Path | None) -> Path:
    if is_path(name):
        return (folder or Path()) / name
    cards = resources.task_cards()
    if name not in cards:
        raise UsageError(f"unknown task '{name}'", hint=did_you_mean(name, cards))
    return cards[name]


def _overlay(axis: str, value: str, variants: dict[str, dict[str, dict[str, Any]]], path: Path) -> dict[str, Any]:
    if axis == "steps":
        return {"training": {"steps": value}}
    if axis in COMMON_AXES:
        return {axis: value}
    if axis not in variants:
        axes = [*variants, *COMMON_AXES]
        raise UsageError(f"{path}: task has no variants by '{axis}'", hint=did_you_mean(axis, axes))
    if value not in variants[axis]:
        raise UsageError(f"{path}: no variant {axis}={value}", hint=did_you_mean(value, variants[axis]))
    return variants[axis][value]
