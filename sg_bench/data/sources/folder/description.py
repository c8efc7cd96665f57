"""The file dataset.json of nnU-Net and of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sg_bench.errors import DataError

_LONGEST = 2**26
"""Bytes."""


def read_description(root: Path) -> dict[str, Any]:
    """Return the content of dataset.json.

    Raises:
        DataError: it is missing, too long, or no JSON object.
    """
    path = root / "dataset.json"
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} bytes")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        cause = "it is missing" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:200]
        raise DataError(f"{path}: it cannot be read as JSON ({cause})", hint="Copy it from the data set") from error
    return content


def channel_names(description: dict[str, Any]) -> list[str]:
    """Return the names of the channels in their order; [] if there are none."""
    return list(_by_number(description.get("channel_names", description.get("modality"))).values())


def class_names(description: dict[str, Any]) -> dict[int, str]:
    """Return the names of single label values, without background; regions of several values are not in it."""
    labels = description.get("labels")
    if isinstance(labels, dict) and labels and not all(str(key).isdecimal() for key in labels):
        labels = {value: name for name, value in labels.items() if isinstance(value, int)}
    return {number: name for number, name in _by_number(labels).items() if number > 0}


def region_values(description: dict[str, Any]) -> dict[str, list[int]]:
    """Return the label values of each region that dataset.json names as several values, as nnU-Net does."""
    labels = description.get("labels")
    if not isinstance(labels, dict):
        return {}
    lists = {str(name): value for name, value in labels.items() if isinstance(value, list)}
    return {name: value for name, value in lists.items() if all(isinstance(each, int) for each in value)}


def _by_number(names: Any) -> dict[int, str]:
    """Return the names of {"0": "T1"} or ["T1"] by number, in order."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
        return {}
    return {int(key): str(names[key]) for key in sorted(names, key=lambda key: int(key))}
