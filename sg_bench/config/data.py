"""Settings of data: how images are prepared, where cubes are cut, how cases are split."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sg_bench.config.model import AddedLater, Border, Fraction, Model, NotInKey, NotNegative, Positive, Shape


class Preparation(Model):
    """How a source's image becomes an array in [0, 1] on a known grid (see data/prepare.py)."""

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
    """hu: window in HU; percentiles: window in percentiles; minmax: not used."""

    def without_effect(self) -> frozenset[str]:
        """Return `clip` where intensities are scaled from minimum to maximum."""
        return frozenset({"clip"} if self.intensity == "minmax" else ())

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


class AirRule(Model):
    """Which cubes hold enough air to show lung (protocol C.2.4): tissue counts 1, air just before tissue 1/2."""

    threshold: Fraction = 0.425
    """Intensity in [0, 1] from which a voxel is tissue; .425 is -150 HU."""
    look_ahead: Annotated[int, Field(ge=2)] = 3
    """Slices examined, from a voxel upwards: the farther the next tissue, the less air counts (official 3: 1/2 in the
    next slice, else 0); cubes keep this many slices free behind them."""
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
    """Another data set whose images may be trained on but never tested on, such as the corpus of a pretraining."""

    data: Annotated[str, NotInKey()] = ""
    """Its name in `--data NAME=PATH`; required in a suite or card, absent from records."""
    source: str
    config: dict[str, Any] = {}
    """Settings of the source."""
    groups: tuple[str, ...] = ()
    """Only its cases of these groups; (): all."""
    ids: str = ""
    """SHA-256 by which `assign` finds the ids and patients of these cases; planning fills it in."""

    @model_validator(mode="after")
    def _named(self) -> Outside:
        if not self.data and not self.ids:
            raise ValueError("`outside` needs `data`: the name of the data set in --data NAME=PATH")
        return self


class Split(Model):
    """Division of cases into training, validation and test, always by whole patients (see data/splits.py).

    A part is named by `groups`, `numbers` or `lists`, or it is drawn: the drawn parts share, by their fractions, the
    cases that no named part takes. Where every part is named, cases of no part are left out.
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
    """Files of case or patient ids, one in each line, relative to the suite; planning replaces each by the SHA-256 of
    its ids."""
    outside: Outside | None = None
    """Test on all cases that this other data set lacks; draw training and validation from the rest."""
    stratify: bool = False
    """Draw so that each finding, and each group, is represented proportionally in every part."""
    column: Annotated[str, AddedLater()] = ""
    """stratify: a column of the data set's table, such as the class; each of its values is represented likewise."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Number of folds: each fine-tuning seed tests on another one; the fractions of the other parts divide the rest."""

    @property
    def draws(self) -> bool:
        """Return whether chance decides the part of any case."""
        return self.folds is not None or sum(getattr(self, part) > 0 for part in PARTS) > 1

    def without_effect(self) -> frozenset[str]:
        """Return how to draw where nothing is drawn; `seed` is left to the owner, who may use it otherwise."""
        if not self.draws:
            return frozenset({"unit", "stratify", "column"})
        return frozenset() if self.stratify else frozenset({"column"})

    @model_validator(mode="after")
    def _whole(self) -> Split:
        ways = [set(way) for way in (self.groups, self.numbers, self.lists)]
        named = set().union(*ways)
        if len(named) < sum(map(len, ways)):
            raise ValueError("a part is named by only one of groups, numbers and lists")
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
