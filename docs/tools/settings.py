"""The reference of settings, from the pydantic models that read them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sg_bench.config import Model
from sg_bench.config.descriptions import field_descriptions, models_in, nested_models
from sg_bench.registry import METHODS, NETWORKS, SOURCES, Registry


def settings_page() -> str:
    """Return the page of what a suite and a task card may say, with all settings within."""
    from sg_bench.discovery.settings import DiscoverySettings
    from sg_bench.suite import Suite
    from sg_bench.tasks import Task

    head = """# Suites and task cards

What a [suite](#suite) and a [task card](#task) may say. Both are YAML; an unknown setting is an error that names the
nearest one. `sg-bench schema` writes the same as JSON Schema, for [editors](../editors.md).

A suite file may also have `extends` (a suite that it completes), `union` (a list of suites that it unites),
`methods_of` (a suite to take the methods from), `budgets` (named sets of settings) and `budget` (the chosen one).
A card may also have `variants`, by axis and value, and `default`, the values that hold unless a task's name chooses
another.
"""
    return head + "\n" + "\n\n".join(_models([Suite, Task, DiscoverySettings])) + "\n"


def methods_page() -> str:
    """Return the page of all methods' settings."""
    return _registered("Methods", METHODS, "`config` of a method in a suite; `NAME+semantics` joins the add-on to any.")


def networks_page() -> str:
    """Return the page of all networks' settings."""
    return _registered("Networks", NETWORKS, "`network` of a suite or of a method: `{name: NAME, SETTING: value}`.")


def sources_page() -> str:
    """Return the page of all data sources' settings."""
    return _registered("Data sources", SOURCES, "`config` of a corpus, or of a card's `data`, by its `source`.")


def _registered(title: str, registry: Registry, what: str) -> str:
    blocks, nested = [f"# {title}", f"Settings of the built-in ones: {what}"], dict[type[BaseModel], None]()
    for name in registry.names():
        if registry.plugin(name):
            continue  # of a package that happens to be installed
        config = registry.config(name)
        nested |= dict.fromkeys(_nested([config]))
        blocks += [f"## {name}", f"{registry.entry(name).summary[0].upper()}{registry.entry(name).summary[1:]}."]
        blocks.append(_table(config))
    own = {registry.config(name) for name in registry.names()}
    return "\n\n".join([*blocks, *_models([model for model in nested if model not in own])]) + "\n"


def _models(roots: Iterable[type[BaseModel]]) -> list[str]:
    blocks = []
    for model in dict.fromkeys([*roots, *_nested(roots)]):
        about = (inspect.getdoc(model) or "").partition("\n\n")[0]
        blocks += [f"## {_title(model)}", " ".join(about.split()), _table(model)]
    return blocks


def _nested(roots: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    """Return the models among the fields of others."""
    roots = list(roots)
    return [model for model in nested_models(roots) if model not in roots]


def _title(model: type[BaseModel]) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.removesuffix("Settings").removesuffix("Config"))
    return words[0] + words[1:].lower() if words[1:2].islower() else words


def _table(model: type[BaseModel]) -> str:
    texts = field_descriptions(model)
    rows = []
    for name, field in model.model_fields.items():
        written = getattr(field.validation_alias, "choices", [name])[0]
        cells = [f"`{written}`", _type(field.annotation), _default(field), _cell(texts.get(name, ""))]
        rows.append(f"| {' | '.join(cells)} |")
    head = ["| setting | type | default | |", "| :--- | :--- | :--- | :--- |"]
    return "\n".join([*head, *rows]) if rows else "It has no settings."


def _type(annotation: Any) -> str:
    """Return a type as it is written in Python, without the details of its validation; links lead to models."""
    models = models_in(annotation)
    if not models:
        return f"`{_written(annotation)}`".replace("|", "\\|")
    links = " or ".join(f"[{_title(model)}](#{_title(model).lower().replace(' ', '-')})" for model in models)
    return links if inspect.isclass(annotation) else f"{links}, in `{_written(annotation)}`".replace("|", "\\|")


def _written(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _written(inner[0])
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " or ".join(map(_written, inner))
    if origin and inner:
        return f"{origin.__name__}[{', '.join(map(_written, inner))}]"
    if annotation in (NoneType, Ellipsis):
        return "None" if annotation is NoneType else "..."
    return getattr(annotation, "__name__", str(annotation))


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    if isinstance(value, Model):
        changed = {name: getattr(value, name) for name in sorted(value.model_fields_set)}
        return f"`{changed}`".replace("|", "\\|") if changed else "its defaults"
    return f"`{value!r}`".replace("|", "\\|") if value not in ("", {}, [], ()) else "none"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
