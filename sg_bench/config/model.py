"""The base of all settings, and the types of their fields."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python

from sg_bench.config.keys import canonical_json, merged

SpatialDims = Literal[2, 3]
"""2: films, or slices of volumes; 3: volumes."""
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Shape = tuple[Positive, Positive, Positive]
"""Voxels along x, y, z: the order of nibabel, torchio and the papers' weights."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Border = tuple[NotNegative, NotNegative, NotNegative]


@dataclass(frozen=True)
class NotInKey:
    """Marks a field that cannot change a result: how it is executed, or what tables print of it.

    Written as `workers: Annotated[int, NotInKey()] = 1`. Such a field is in no key and in no record's recipe.
    """


@dataclass(frozen=True)
class AddedLater:
    """Marks a field that was added after keys were published, and whose default computes what was computed before.

    While such a field equals its default it is left out of the key, so that existing results keep their names.
    """


class Model(BaseModel):
    """Base of all settings: immutable, without NaN and infinity; an unknown field is an error.

    Where a default is itself a `Model`, giving only some of its fields keeps the others of that default.

    **Keys.** The key of a result is the SHA-256 of the canonical JSON of `key_content()`, which holds whatever can
    change a number and nothing else. It walks nested models and leaves out

    - fields marked `NotInKey`,
    - fields marked `AddedLater` that equal their default,
    - fields named by `without_effect()`: those that the values of other fields make irrelevant, such as the momentum
      of Adam. A model that has such fields overrides it.

    Reading `key_content()` back gives a model with the same key: a field that was left out takes its default.
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

    def without_effect(self) -> frozenset[str]:
        """Return the fields that, given the values of the others, cannot change a result; "split.seed" if nested."""
        return frozenset()

    def key_content(self, without: Collection[str] = ()) -> dict[str, Any]:
        """Return the part of the settings that can change a result, as plain JSON.

        Args:
            without: further fields to leave out, dotted where they are those of a nested model.
        """
        return {name: _plain(value, nested) for name, value, nested in self._in_key(without)}

    @cached_property
    def key_json(self) -> str:
        """The canonical JSON of `key_content()`, computed once for each object, nested ones included."""
        texts = []
        for name, value, without in self._in_key():
            complete = isinstance(value, Model) and not without
            texts.append(f'"{name}":{value.key_json if complete else canonical_json(_plain(value, without))}')
        return "{" + ",".join(texts) + "}"

    def _in_key(self, without: Collection[str] = ()) -> Iterator[tuple[str, Any, Collection[str]]]:
        """Yield name and value of each field that is in the key, sorted, and what to leave out of the value."""
        left_out = {*self.without_effect(), *without}
        for name, default in _key_fields(type(self)):
            value = getattr(self, name)
            if name in left_out or (default is not _ALWAYS and value == default):
                continue
            nested = {each.partition(".")[2] for each in left_out if each.startswith(f"{name}.")} if left_out else ()
            yield name, value, nested

    def __copy__(self) -> Self:
        """Return a copy without what was cached, as `model_copy(update=...)` changes fields of it."""
        copied = super().__copy__()
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


_ALWAYS = object()


@cache
def _key_fields(cls: type[Model]) -> list[tuple[str, Any]]:
    """Return the sorted names of the fields that can be in a key, with the default at which they are not."""
    fields = []
    for name, field in sorted(cls.model_fields.items()):
        if any(isinstance(each, NotInKey) for each in field.metadata):
            continue
        later = any(isinstance(each, AddedLater) for each in field.metadata)
        fields.append((name, field.get_default(call_default_factory=True) if later else _ALWAYS))
    return fields


def _plain(value: Any, without: Collection[str] = ()) -> Any:
    """Return a field's value as plain JSON."""
    if isinstance(value, Model):
        return value.key_content(without)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return to_jsonable_python(value)


class Dimensional(Model):
    """Settings with one set of defaults for volumes and another for films and slices."""

    flat: ClassVar[dict[str, Any]] = {}
    """Defaults that differ where `dimension` is 2."""

    dimension: SpatialDims = 3
    """3: volumes (x, y, z); 2: films, or slices of volumes, (x, y, 1)."""

    @model_validator(mode="before")
    @classmethod
    def _over_flat(cls, given: Any) -> Any:
        return cls.over_flat(given)

    @classmethod
    def over_flat(cls, given: Any) -> Any:
        """Return given settings of two dimensions completed by `flat`, and all others as they are; idempotent."""
        two = isinstance(given, dict) and given.get("dimension") == 2
        return merged(cls.flat, given) if two else given
