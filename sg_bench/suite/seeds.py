"""Parsing of seeds: 0-4, 0,2,7 or 3."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

MAX_SEED = 100_000


def parse_seeds(value: Any) -> Any:
    """Return the seeds of "0-4", "0,2,7" or "3" as a list, and anything but text unchanged."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return value
    seeds: list[int] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_SEED:
            raise ValueError(f"seeds are written as 0-4 or 0,2,7 (at most {MAX_SEED}), not {value!r}")
        seeds.extend(range(first, last + 1))
    return seeds


def _once(seeds: list[int]) -> list[int]:
    return list(dict.fromkeys(seeds))


Seeds = Annotated[
    list[Annotated[int, Field(ge=0, le=MAX_SEED)]],
    BeforeValidator(parse_seeds, json_schema_input_type=list[int] | int | str),
    Field(min_length=1),
    AfterValidator(_once),
]
