"""Descriptions of settings, from the strings below their fields; for references and editors."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel


@cache
def field_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return what each field of a settings class is, by its name; a field without a description is left out.

    A class whose source is not at hand, such as one that was made while the program runs, describes nothing itself.
    """
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls is not BaseModel:
            found |= _own_descriptions(cls)
    found |= {name: field.description for name, field in model.model_fields.items() if field.description}
    return {name: text for name, text in found.items() if name in model.model_fields}


def nested_models(roots: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    """Return settings classes and those among their fields, each once, in the order in which they are met."""
    found = dict.fromkeys(roots)
    todo = list(found)
    while todo:
        for field in todo.pop(0).model_fields.values():
            new = [model for model in models_in(field.annotation) if model not in found]
            found |= dict.fromkeys(new)
            todo += new
    return list(found)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings classes in a type, such as those of `list[Claim] | None`."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in get_args(annotation) for model in models_in(each)]


@cache
def _own_descriptions(cls: type[BaseModel]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
