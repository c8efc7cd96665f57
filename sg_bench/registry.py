"""Names to classes: built in, or an installed package's entry point; nothing heavy is imported until it is used.

An entry names two things as "module:attribute": a torch-free config, which planning hashes, and the class itself,
which only a worker imports. A package adds its own by an entry point in the group `sg_bench.methods` or
`sg_bench.sources` that resolves to an `Entry`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from sg_bench.errors import UsageError, did_you_mean
from sg_bench.recipes import Model


@dataclass(frozen=True)
class Entry:
    """Where a method's or source's config and class are found."""

    config: str
    """"module:Config", a `recipes.Model`; its module imports neither torch nor ray."""
    target: str
    """"module:Class"."""
    summary: str
    """One line for `sg-bench list`."""


class Registry:
    """Entries of one kind by name."""

    def __init__(self, kind: str, builtin: dict[str, Entry], group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries = dict(builtin)
        self._owners = dict.fromkeys(builtin, "sg-bench")
        self._plugins_loaded = False

    def register(self, name: str, entry: Entry, *, owner: str = "this program") -> None:
        """Add an entry.

        Raises:
            UsageError: the name is taken.
        """
        if name in self._entries:
            raise UsageError(
                f"{self.kind} '{name}' of {owner} is already registered by {self._owners[name]}",
                hint="Rename one of the two",
            )
        self._entries[name] = entry
        self._owners[name] = owner

    def names(self) -> list[str]:
        """Return all names, in alphabetical order."""
        self._load_plugins()
        return sorted(self._entries)

    def entry(self, name: str) -> Entry:
        """Return the entry of `name`.

        Raises:
            UsageError: no such name; the message suggests the nearest.
        """
        self._load_plugins()
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} '{name}'", hint=did_you_mean(name, self._entries))
        return self._entries[name]

    def config(self, name: str) -> type[Model]:
        """Return the config class of `name` without importing the class that it configures."""
        found: type[Model] = _resolve(self.entry(name).config)
        return found

    def load(self, name: str) -> Any:
        """Import and return the class of `name`."""
        return _resolve(self.entry(name).target)

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for point in metadata.entry_points(group=self.group):
            owner = f"{point.dist.name if point.dist else 'a package'} ({point.value})"
            entry = point.load()
            if not isinstance(entry, Entry):
                raise UsageError(
                    f"{self.kind} '{point.name}' of {owner} is a {type(entry).__name__}, not a registry.Entry",
                    hint="Point the entry point at an Entry(config=..., target=..., summary=...)",
                )
            self.register(point.name, entry, owner=owner)


def _resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


METHODS = Registry(
    "method",
    {
        "autoencoder": Entry(
            "sg_bench.methods.configs:AutoencoderConfig",
            "sg_bench.methods.autoencoder:Autoencoder",
            "reconstructs whole volumes; its latents drive self-discovery",
        ),
        "models_genesis": Entry(
            "sg_bench.methods.configs:ModelsGenesisConfig",
            "sg_bench.methods.models_genesis:ModelsGenesis",
            "restores spoiled random crops (Zhou et al. 2019)",
        ),
        "scratch": Entry(
            "sg_bench.methods.configs:ScratchConfig",
            "sg_bench.methods.scratch:Scratch",
            "no pretraining: random weights",
        ),
        "semantic_genesis": Entry(
            "sg_bench.methods.configs:SemanticGenesisConfig",
            "sg_bench.methods.semantic_genesis:SemanticGenesis",
            "classifies self-discovered patterns and restores them when spoiled (Haghighi et al. 2020)",
        ),
    },
    group="sg_bench.methods",
)

SOURCES = Registry(
    "source",
    {
        "folder": Entry(
            "sg_bench.data.sources.folder:FolderConfig",
            "sg_bench.data.sources.folder:FolderSource",
            "your own NIfTI or MetaImage files",
        ),
        "phantom": Entry(
            "sg_bench.data.sources.phantom:PhantomConfig",
            "sg_bench.data.sources.phantom:PhantomSource",
            "procedural chest CT, nothing to download",
        ),
    },
    group="sg_bench.sources",
)
