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
    """"module:Config", of the registry's base; its module imports neither torch nor ray."""
    target: str
    """"module:Class"."""
    summary: str
    """One line for `sg-bench list`."""


class Registry:
    """Entries of one kind by name.

    Args:
        kind: what error messages call an entry.
        builtin: this package's own entries.
        group: of the entry points by which other packages add theirs.
        base: "module:Config", which every entry's config extends.
    """

    def __init__(self, kind: str, builtin: dict[str, Entry], group: str, base: str) -> None:
        self.kind = kind
        self.group = group
        self.base = base
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
        """Return the config class of `name` without importing the class that it configures.

        Raises:
            UsageError: no such name, or its config cannot be used; the message names the package.
        """
        found = self._resolved(name, self.entry(name).config)
        base: type[Model] = _resolve(self.base)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise UsageError(
                f"{self.kind} '{name}' of {self._owners[name]}: its config {self.entry(name).config} is no {self.base}",
                hint=f"Let it extend {self.base.replace(':', '.')}",
            )
        return found

    def load(self, name: str) -> Any:
        """Import and return the class of `name`.

        Raises:
            UsageError: no such name, or it cannot be imported; the message names the package.
        """
        return self._resolved(name, self.entry(name).target)

    def _resolved(self, name: str, target: str) -> Any:
        try:
            return _resolve(target)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"{self.kind} '{name}' of {self._owners[name]}: {target} cannot be imported: {error}",
                hint="Correct, update or uninstall it",
            ) from error

    def _load_plugins(self) -> None:
        """Register what installed packages offer, all of it or, where one is broken, nothing."""
        if self._plugins_loaded:
            return
        before = dict(self._entries), dict(self._owners)
        try:
            for point in metadata.entry_points(group=self.group):
                owner = f"{point.dist.name if point.dist else 'a package'} ({point.value})"
                self.register(point.name, self._loaded(point, owner), owner=owner)
        except UsageError:
            self._entries, self._owners = before
            raise
        self._plugins_loaded = True

    def _loaded(self, point: metadata.EntryPoint, owner: str) -> Entry:
        try:
            entry = point.load()
        except Exception as error:
            raise UsageError(
                f"{self.kind} '{point.name}' of {owner} cannot be loaded: {type(error).__name__}: {error}",
                hint="Update or uninstall that package",
            ) from error
        if not isinstance(entry, Entry):
            raise UsageError(
                f"{self.kind} '{point.name}' of {owner} is a {type(entry).__name__}, not a registry.Entry",
                hint="Point the entry point at an Entry(config=..., target=..., summary=...)",
            )
        return entry


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
    base="sg_bench.methods.configs:MethodConfig",
)

SOURCES = Registry(
    "source",
    {
        "brats2018": Entry(
            "sg_bench.data.sources.brats2018:Brats2018Config",
            "sg_bench.data.sources.brats2018:Brats2018Source",
            "BraTS-2018: brain MRI of glioma, four sequences, tumour labels",
        ),
        "chestxray14": Entry(
            "sg_bench.data.sources.chestxray14:ChestXray14Config",
            "sg_bench.data.sources.chestxray14:ChestXray14Source",
            "NIH ChestX-ray14: chest films with 14 findings",
        ),
        "folder": Entry(
            "sg_bench.data.sources.folder:FolderConfig",
            "sg_bench.data.sources.folder:FolderSource",
            "your own NIfTI or MetaImage files",
        ),
        "lidc_idri": Entry(
            "sg_bench.data.sources.lidc_idri:LidcIdriConfig",
            "sg_bench.data.sources.lidc_idri:LidcIdriSource",
            "LIDC-IDRI: chest CT with the nodules that up to four readers outlined",
        ),
        "lits": Entry(
            "sg_bench.data.sources.lits:LitsConfig",
            "sg_bench.data.sources.lits:LitsSource",
            "LiTS-2017: abdominal CT with liver and lesions",
        ),
        "luna16": Entry(
            "sg_bench.data.sources.luna16:Luna16Config",
            "sg_bench.data.sources.luna16:Luna16Source",
            "LUNA16: chest CT with nodule candidates",
        ),
        "phantom": Entry(
            "sg_bench.data.sources.phantom:PhantomConfig",
            "sg_bench.data.sources.phantom:PhantomSource",
            "procedural chest CT, brain MRI and films, nothing to download",
        ),
        "siim_acr": Entry(
            "sg_bench.data.sources.siim_acr:SiimAcrConfig",
            "sg_bench.data.sources.siim_acr:SiimAcrSource",
            "SIIM-ACR 2019: chest films with outlined pneumothorax",
        ),
    },
    group="sg_bench.sources",
    base="sg_bench.data.sources.base:SourceConfig",
)
