"""Reading of YAML files and of settings, with errors that name the wrong place."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo

from sg_bench.config import Model
from sg_bench.errors import UsageError, did_you_mean

M = TypeVar("M", bound=Model)
DERIVED = frozenset({"folder", "variant"})
"""Fields that reading fills in and no file may contain."""
_LONGEST = 2**20
"""Bytes of a file."""
_LONGEST_MESSAGE = 1000
_DEEPEST = 50
"""Levels of settings within settings."""
_MOST_VALUES = 50_000
"""Settings and entries of a file, an alias counted as what it stands for."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        UsageError: the file is absent, not YAML, or not a mapping.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise UsageError(f"{path}: it has more than {_LONGEST} bytes, no settings", hint="Check the path")
        content = deepcopy(_parsed(text))
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
    """Return the content of a YAML text; do not change it, as it is shared. A card is read several times a command.

    Raises:
        ValueError: it is nested too deeply, or aliases make it too large.
    """
    content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that refuses doubled keys
    waiting, values = [(content, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        values += 1
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, set, tuple)) else ()
        if depth > _DEEPEST or values + len(waiting) + len(inner) > _MOST_VALUES:
            raise ValueError(f"it has more than {_DEEPEST} levels or {_MOST_VALUES} values")
        waiting += [(each, depth + 1) for each in inner]
    return content


class _Loader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys and deep nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            mark: Any = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"more than {_DEEPEST} levels of settings", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

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
        return f"line {error.problem_mark.line + 1}: {' '.join(str(error.problem).split())[:200]}"
    return " ".join(str(error).split())[:200]


def validated(model: type[M], content: dict[str, Any], where: str) -> M:
    """Return `content` as a `model`.

    Raises:
        UsageError: names the first wrong setting, its value, and the nearest setting that exists; or all missing ones.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = " ".join(_first_problem(model, error).split())[:_LONGEST_MESSAGE]
        raise UsageError(f"{where}: {problem}", hint="Correct it and run again") from error


def _first_problem(model: type[Model], error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    first, missing = problems[0], [_place(each["loc"]) for each in problems if each["type"] == "missing"]
    name, others = _place(first["loc"]), len(problems) - len(missing) - (first["type"] != "missing")
    absent = f"; missing: {', '.join(missing)}" if missing and first["type"] != "missing" else ""
    more = f"{absent}{f' (and {others} more)' if others else ''}"
    if len(missing) > 1 and first["type"] == "missing":
        return f"{', '.join(map(repr, missing))}: missing{more}"
    if first["type"] == "extra_forbidden":
        known = _known_settings(model, first["loc"][:-1])
        return f"unknown setting '{name}'{more}. {did_you_mean(str(first['loc'][-1]), known)}"
    obvious = first["type"] == "missing" or isinstance(first["input"], (dict, Model))
    setting = f"'{name}'" if obvious else f"'{name}' = {first['input']!r:.80}"
    return f"{setting + ': ' if name else ''}{first['msg'].removeprefix('Value error, ')}{more}"


def _place(location: tuple[int | str, ...]) -> str:
    """Return where a setting is, such as "data.name", in one short line."""
    return " ".join(".".join(str(part) for part in location).split())[:100]


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
    return sorted({_written(*each) for each in found.model_fields.items()} - DERIVED) if found else []


def _written(name: str, field: FieldInfo) -> str:
    """Return the name by which a file sets a field: its first alias, if it has any."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def _setting_in(annotation: Any) -> type[Model] | None:
    """Return the `Model` in an annotation such as `Crops | None`, if any."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    if get_origin(annotation) in (list, tuple, dict):
        return None
    return next((found for part in get_args(annotation) if (found := _setting_in(part))), None)
