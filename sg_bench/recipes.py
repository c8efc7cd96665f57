"""What a result is made of: the settings that several rooms share, and the key that names a recipe.

A recipe holds everything that could change a number and is known before anything is computed. Its key is the
SHA-256 of its canonical JSON, so two runs that would give the same number share one key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SpatialDims = Literal[2, 3]
"""2: films, or slices of volumes; 3: volumes."""
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Shape = tuple[Positive, Positive, Positive]
"""Voxels along x, y, z: the order of nibabel, torchio and the papers' weights."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Border = tuple[NotNegative, NotNegative, NotNegative]


class Model(BaseModel):
    """A setting: immutable, finite, and a key that it does not know is an error.

    Where a default is itself a setting, giving only a part of it keeps the rest of that default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = {name: field.default for name, field in cls.model_fields.items()}
        partly = [
            name for name, default in fields.items() if isinstance(default, Model) and isinstance(given.get(name), dict)
        ]
        return {**given, **{name: merged(fields[name].model_dump(), given[name]) for name in partly}}


class Dimensional(Model):
    """A setting whose defaults are those of volumes, and others for films and slices."""

    flat: ClassVar[dict[str, Any]] = {}
    """Where `dimension` is 2, this lies over the defaults and beneath whatever is given, key by key."""

    dimension: SpatialDims = 3
    """3: volumes (x, y, z); 2: films, or slices of volumes, (x, y, 1)."""

    @model_validator(mode="before")
    @classmethod
    def _over_flat(cls, given: Any) -> Any:
        return cls.over_flat(given)

    @classmethod
    def over_flat(cls, given: Any) -> Any:
        """Return settings in two dimensions laid over `flat`, and anything else as it is; twice changes no more."""
        two = isinstance(given, dict) and given.get("dimension") == 2
        return merged(cls.flat, given) if two else given


class Preparation(Model):
    """How a source's image becomes a [0, 1] array on a known grid (data/prepare.py carries it out)."""

    version: Literal[2] = 2
    """2: interpolated slab by slab in single precision; 1 did it at once in double, and some of 100 000 voxels differed
    by the last bit of half precision."""
    orientation: Annotated[str, Field(pattern=r"^[LRAPSI]{3}$")] = "RAS"
    """Anatomical direction of the three array axes; "" is not allowed: files differ within one data set."""
    spacing: tuple[float, float, float] | None = None
    """Target voxel size in mm (x, y, z); None keeps the native grid."""
    shape: tuple[Positive | None, Positive | None, Positive | None] | None = None
    """Instead of a spacing: target number of voxels (x, y, z) over the same field of view; None keeps an axis."""
    intensity: Literal["hu", "minmax", "percentiles"] = "hu"
    """hu: clip to `clip` and scale; minmax: per image; percentiles: `clip` are percentiles of the image."""
    clip: tuple[float, float] = (-1000.0, 1000.0)
    """Window in HU (hu) or percentiles (percentiles); minmax ignores it."""

    @model_validator(mode="after")
    def _ordered(self) -> Preparation:
        if len({axis for axis in ("LR", "AP", "SI") for letter in self.orientation if letter in axis}) < 3:
            raise ValueError(f"orientation must name each of L/R, A/P and S/I once, not {self.orientation}")
        if self.clip[0] >= self.clip[1]:
            raise ValueError(f"clip must be (low, high) with low < high, not {self.clip}")
        if self.spacing and min(self.spacing) <= 0:
            raise ValueError(f"spacing must be positive, in mm, not {self.spacing}")
        if self.spacing and self.shape:
            raise ValueError("a grid is given by its spacing or by its shape, not by both")
        return self


class Optimiser(Model):
    """Adam or SGD, with the papers' settings as defaults."""

    name: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Fraction = 0.9
    """SGD only."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Schedule(Model):
    """How the learning rate falls, epoch by epoch."""

    name: Literal["constant", "plateau", "step", "cosine"] = "plateau"
    """cosine: down to `min_lr` over all epochs of the training."""
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


class AirRule(Model):
    """Which cubes hold enough air to show lung (protocol C.2.4): tissue counts 1, air just before tissue 1/2."""

    threshold: Fraction = 0.425
    """Intensity in [0, 1] from which a voxel is tissue; .425 is -150 HU."""
    look_ahead: Annotated[int, Field(ge=2)] = 3
    """Slices looked at, from a voxel upwards: air before tissue counts the less the farther the tissue is (official
    3: 1/2 in the next slice, else 0); cubes keep this many slices free behind them."""
    most: Fraction = 0.15
    """Greatest mean count of an accepted cube."""


class CropRule(Model):
    """Where in a volume a cube may be cut; defaults are the official ones for native chest CT."""

    cube: Shape = (64, 64, 32)
    border: Border = (100, 100, 30)
    """Voxels kept clear on either side of x, y and z."""
    air: AirRule | None = AirRule()
    """None accepts any content (images other than chest CT)."""
    tries: Positive = 200
    """Draws before a volume is given up."""


Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class Outside(Model):
    """Another data set, whose images may be trained on but never tested on: what pretraining has seen, say."""

    data: str
    """What `--data NAME=PATH` calls it."""
    source: str
    config: dict[str, Any] = {}
    """Settings of the source."""
    groups: tuple[str, ...] = ()
    """Only its cases of these groups; (): all."""
    ids: str = ""
    """A plan fills it in: the SHA-256 under which `assign` finds the ids and patients of these cases."""


class Split(Model):
    """Who trains, who validates, who tests: always whole patients (data/splits.py carries it out).

    A part is named by `groups`, `numbers` or `lists`, or it is drawn: the drawn parts share, by their fractions, the
    cases that no named part takes. Where every part is named, cases of none are left out.
    """

    seed: NotNegative = 0
    train: Fraction = 0.0
    validation: Fraction = 0.0
    test: Fraction = 0.0
    unit: Literal["patients", "cases"] = "patients"
    """What the fractions count; either way a patient is never divided."""
    groups: dict[Part, tuple[str, ...]] = {}
    """The data set's own groups that make up a part."""
    numbers: dict[Part, tuple[NotNegative, NotNegative]] = {}
    """First and last number, both included, that the ids of a part end in."""
    lists: dict[Part, str] = {}
    """Files of case or patient ids, one a line, relative to the suite; a plan replaces each by its ids' SHA-256."""
    outside: Outside | None = None
    """Test on what this other data set lacks, and on nothing else; draw training and validation from the rest."""
    stratify: bool = False
    """Draw so that each finding, and each group, has its share in every part."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Test on one of so many folds, another for each fine-tuning seed; the other fractions share the rest."""

    @model_validator(mode="after")
    def _whole(self) -> Split:
        ways = [set(way) for way in (self.groups, self.numbers, self.lists)]
        named = set().union(*ways)
        if len(named) < sum(map(len, ways)):
            raise ValueError("a part is named by groups, numbers or lists, by one of them alone")
        by_other_means = named | ({"test"} if self.folds or self.outside else set())
        drawn = {part: getattr(self, part) for part in PARTS if part not in by_other_means}
        if (self.folds and self.outside) or ((self.folds or self.outside) and "test" in named):
            raise ValueError("the test part is made by folds, by `outside`, or by name: choose one")
        given = [part for part in by_other_means if getattr(self, part)]
        if given:
            raise ValueError(f"'{given[0]}' has a fraction, but is not drawn: leave the fraction out")
        if drawn and abs(sum(drawn.values()) - 1) > 1e-6:
            raise ValueError(f"{', '.join(drawn)} must sum to 1, not {sum(drawn.values()):g}")
        if drawn.get("train") == 0:
            raise ValueError("train must be above 0")
        return self


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, pydantic models as their dumps.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON cannot say.
        TypeError: `value` holds something that is not JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def key_of(recipe: Any) -> str:
    """Return the SHA-256 (64 hex digits) of the canonical JSON of `recipe`."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def merged(base: dict[str, Any], *overlays: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with each overlay's keys laid over it, dictionaries key by key, all else replaced."""
    out = dict(base)
    for overlay in overlays:
        for key, value in overlay.items():
            both = isinstance(value, dict) and isinstance(out.get(key), dict)
            out[key] = merged(out[key], value) if both else value
    return out


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield "dotted.field: old -> new" for each place in which two recipes differ."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from differences(old.get(name), new.get(name), f"{where}.{name}".lstrip("."))
    else:
        yield f"{where}: {_short(old)} -> {_short(new)}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot stand in a recipe: {value!r}")


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
