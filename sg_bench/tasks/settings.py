"""Parts of a task card: its data, how crops are sampled, and how images are predicted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sg_bench.config import Border, Fraction, Model, Positive, Shape


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
        if self.places == "image" and self.patch[2] == 1:
            if any(side % 32 for side in self.patch[:2]):
                raise ValueError(f"a film's patch must be (x, y, 1) with x, y multiples of 32, not {self.patch}")
        elif any(side % 8 for side in self.patch):
            raise ValueError(f"patch sides must be divisible by 8 (three poolings), not {self.patch}")
        if self.places == "image" and self.patch[2] > 1 and self.augmentation != Augmentation():
            raise ValueError("`augmentation` varies films: a volume's patch is only mirrored, as `flips` say")
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
