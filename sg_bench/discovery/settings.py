"""Configuration of self-discovery; free of torch. Defaults are the official constants (protocol C.2).

In two dimensions only the numbers of patterns and of neighbours are published; sides are 0.8 to 1.25 times the crop's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from sg_bench.config import CropRule, Dimensional, Positive


class DiscoverySettings(Dimensional):
    """Number of patterns, of patients for each, and how their crops are cut."""

    flat: ClassVar[dict[str, Any]] = {
        "classes": 100,
        "neighbours": 1000,
        "validation_neighbours": 150,
        "crops": {"cube": (224, 224, 1), "border": (0, 0, 0), "air": None},
        "sides": (179, 280),
        "jitter": (-10, 10),
    }

    version: int = 1
    seed: int = 0
    classes: Positive = 44
    """C: reference crops, so pseudo-labels."""
    neighbours: Positive = 200
    """k: training volumes nearest to the reference, which comes first, that share its pseudo-label."""
    neighbours_by: Literal["latent", "random"] = "latent"
    """random: a control in which volumes drawn at random share the pseudo-label; it needs no auto-encoder."""
    validation_neighbours: Positive = 30
    """The same among validation volumes."""
    crops: CropRule = CropRule()
    min_distance: float = Field(default=5.0, ge=0)
    """Least distance in voxels between two accepted coordinates."""
    resolutions: Positive = 3
    """Crops of each pattern in one training patient: one at native scale, the others resized from another side."""
    sides: tuple[int, int] = (50, 79)
    """In-plane side of the resized crops, both ends included."""
    jitter: tuple[int, int] = (-10, 9)
    """In-plane offset of the resized crops, both ends included."""

    def without_effect(self) -> frozenset[str]:
        """Return the sides and offsets of resized crops where no crop is resized."""
        return frozenset({"sides", "jitter"} if self.resolutions == 1 else ())

    @model_validator(mode="after")
    def _ordered(self) -> DiscoverySettings:
        for name, (low, high) in (("sides", self.sides), ("jitter", self.jitter)):
            if low > high or (name == "sides" and low < 1):
                raise ValueError(f"{name} must be (low, high) with low <= high{', from 1 on' * (name == 'sides')}")
        return self
