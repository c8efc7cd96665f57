"""The base of all settings, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sg_bench.config.keys import merged

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
