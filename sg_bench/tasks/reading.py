"""Reads tasks/*.yaml, and a user's own card, into Task.

A task's name may choose variants: `ncs[data=phantom-clean]`, `lcs[steps=240]`, `ncc[fraction=0.1,protocol=frozen]`.
`data`, `protocol` and the like pick one of the card's own variants; `steps`, `fraction`, `shots` and `probe` exist for
every card.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sg_bench import resources
from sg_bench.config import merged
from sg_bench.errors import UsageError, did_you_mean
from sg_bench.tasks.card import Offer, Task
from sg_bench.tasks.files import read_yaml, validated

WHOLE = frozenset({"data", "preparation", "split"})
"""Fields that a variant replaces as a whole: other data, another split."""
COMMON_AXES = ("steps", "fraction", "shots", "probe")
"""Variants that every card has."""


def read_task(reference: str, folder: Path | None = None) -> Task:
    """Return the task that `reference` names: `ncs`, `ncs[data=phantom]`, or a card's path with variants likewise.

    Args:
        reference: a name or the path of a card (.yaml), relative to `folder`.
        folder: where relative paths start; None means the current folder.

    Raises:
        UsageError: no such card or variant, or a setting of the card is unknown or invalid.
    """
    name, choices = parse_reference(reference)
    path = _card_path(name, folder)
    card = read_yaml(path)
    offer = validated(Offer, {name: card.pop(name) for name in ("variants", "default") if name in card}, str(path))
    for axis, value in sorted({**offer.default, **choices}.items()):
        overlay = _overlay(axis, value, offer.variants, path)
        card = merged({key: part for key, part in card.items() if key not in WHOLE & overlay.keys()}, overlay)
    canonical = ",".join(f"{axis}={value}" for axis, value in sorted(choices.items()))
    return validated(Task, {**card, "variant": canonical}, str(path))


def parse_reference(reference: str) -> tuple[str, dict[str, str]]:
    """Split "ncs[data=x,steps=80]" into its name and its choices by axis."""
    match = re.fullmatch(r"([^\[\]]+?)(?:\[([^\[\]]*)\])?", reference.strip())
    pairs = [pair.partition("=") for pair in (match[2] or "").split(",") if pair.strip()] if match else []
    choices = {axis.strip(): value.strip() for axis, _, value in pairs}
    if not match or len(choices) < len(pairs) or not all(axis and value for axis, value in choices.items()):
        raise UsageError(f"'{reference}' is not a task", hint="Write it as ncs or ncs[data=phantom,steps=80]")
    return match[1], choices


def fine_tunes_all(reference: str) -> bool:
    """Return whether a task is fine-tuned on all training cases: not a fraction, not some shots, not a probe."""
    return not {"fraction", "shots", "probe"} & parse_reference(reference)[1].keys()


def is_path(name: str) -> bool:
    """Return whether a task's or suite's name is a file's."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def _card_path(name: str, folder: Path | None) -> Path:
    if is_path(name):
        return (folder or Path()) / name
    cards = resources.task_cards()
    if name not in cards:
        raise UsageError(f"unknown task '{name}'", hint=did_you_mean(name, cards))
    return cards[name]


def _overlay(axis: str, value: str, variants: dict[str, dict[str, dict[str, Any]]], path: Path) -> dict[str, Any]:
    if axis == "steps":
        return {"training": {"steps": value}}
    if axis in COMMON_AXES:
        return {axis: value}
    if axis not in variants:
        axes = [*variants, *COMMON_AXES]
        raise UsageError(f"{path}: task has no variants by '{axis}'", hint=did_you_mean(axis, axes))
    if value not in variants[axis]:
        shown = " ".join(value.split())[:80]
        raise UsageError(f"{path}: no variant {axis}={shown}", hint=did_you_mean(shown, variants[axis]))
    return variants[axis][value]
