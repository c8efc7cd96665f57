"""Canonical JSON, the SHA-256 of it that names a result, and the differences between two settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


def canonical_json(value: Any) -> str:
    """Return the JSON text of `value` with sorted keys and without spaces; pydantic models are dumped.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON does not have.
        TypeError: `value` holds something that is not JSON.
    """
    return _ENCODER.encode(value)


def key_of(recipe: Any) -> str:
    """Return the SHA-256 (64 hex digits) of the canonical JSON of `recipe`."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def merged(base: dict[str, Any], *overlays: dict[str, Any]) -> dict[str, Any]:
    """Return `base` overridden by each overlay in turn: dictionaries key by key, anything else replaced."""
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
    raise TypeError(f"{type(value).__name__} cannot be part of a recipe: {value!r}")


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
