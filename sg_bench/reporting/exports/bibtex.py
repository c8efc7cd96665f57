"""References of what results stand on: methods, networks, data sets and sg-bench itself, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.networks import network_identity
from sg_bench.workspace import write_changed

FILE = "references.bib"
WITHOUT = frozenset({"method:scratch", "method:checkpoint", "method:autoencoder", "source:phantom", "source:folder"})
"""What has no publication of its own: sg-bench itself stands for it, or the user's own weights and images."""
SOFTWARE = "software:sg-bench"


@dataclass(frozen=True)
class BibEntry:
    """One entry of references.bib."""

    key: str
    text: str
    """The entry, without the field that says what it is of."""
    of: frozenset[str]
    """Such as "method:models_genesis", "network:unet3d" or "source:lits"."""


def write_references(evidence: Evidence, folder: Path) -> tuple[int, Path]:
    """Write references.bib; return the number of entries and the path."""
    text = references(evidence)
    write_changed(folder / FILE, text)
    return text.count("\n@") + text.startswith("@"), folder / FILE


def references(evidence: Evidence) -> str:
    """Return the BibTeX of everything that the finished cells used; what has no known reference is a comment."""
    used = [SOFTWARE, *used_names(evidence)]
    entries = [entry for entry in known_references() if entry.of & set(used)]
    covered = {name for entry in entries for name in entry.of} | WITHOUT
    lines = [
        f"% No reference is known for the {name.replace(':', ' ')}: add its own."
        for name in used
        if name not in covered
    ]
    return "\n\n".join(["\n".join(lines)] * bool(lines) + [entry.text for entry in entries]) + "\n"


def used_names(evidence: Evidence) -> list[str]:
    """Return the methods, add-ons, networks and sources of the finished cells, as "method:rotation"."""
    found: dict[str, None] = {}
    for runs in evidence.runs.values():
        for run in runs:
            found |= dict.fromkeys(_of_recipe(run.record.get("recipe") or {}))
    return list(found)


@cache
def known_references() -> tuple[BibEntry, ...]:
    """Return the entries of the packaged references.bib, in its order."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return tuple(_read(block) for block in re.split(r"\n(?=@)", text) if block.startswith("@"))


def _read(block: str) -> BibEntry:
    """Return an entry; its field `of` is a comma-separated list."""
    key = block.partition("{")[2].partition(",")[0]
    of = re.search(r"^  of = \{(.*)\},\n", block, re.MULTILINE)
    assert of is not None, f"the entry {key} of {FILE} has no field `of`"
    return BibEntry(key, block.replace(of[0], "").strip(), frozenset(map(str.strip, of[1].split(","))))


def _of_recipe(recipe: Mapping[str, Any]) -> Iterator[str]:
    initialisation = recipe.get("initialisation") or {}
    yield from _of_method(initialisation)
    yield from _of_stores([recipe.get("store"), (initialisation.get("corpus") or {}).get("store")])


def _of_method(initialisation: Mapping[str, Any]) -> Iterator[str]:
    if not initialisation:
        return
    method, _, addon = str(initialisation["method"]).partition("+")
    yield f"method:{method}"
    if addon:
        yield f"method:+{addon}"
    config = initialisation.get("config") or {}
    if config:
        yield f"network:{network_identity(config)[0]}"


def _of_stores(stores: Iterable[Mapping[str, Any] | None]) -> Iterator[str]:
    yield from (f"source:{store['source']}" for store in stores if store and store.get("source"))
