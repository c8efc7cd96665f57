"""Names to classes: built in, or an installed package's entry point; nothing heavy is imported until it is used.

An entry names two things as "module:attribute": a torch-free config, which planning hashes, and the class itself,
which only a worker imports. A package adds its own by an entry point in the group `sg_bench.methods` or
`sg_bench.sources` that resolves to an `Entry`. What cannot be used is kept aside with the reason: only who asks for it
by name is refused. A "+" joins a method's name and an add-on's, which works on any method: "inpainting+semantics".
"""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NoReturn

from sg_bench.config import Model
from sg_bench.errors import UsageError, did_you_mean

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
"""What a method or source may be called."""
DECLARED: tuple[tuple[str, frozenset[Any], int], ...] = (
    ("needs", frozenset({"corpus", "patterns", "weights"}), 0),
    ("dimensions", frozenset({2, 3}), 1),
)
"""What a config declares, where it declares it: the values known, and how many there must be."""


@dataclass(frozen=True)
class Entry:
    """Where a method's or source's config and class are found."""

    config: str
    """"module:Config", of the registry's base; its module imports neither torch nor ray."""
    target: str
    """"module:Class"."""
    summary: str
    """One line for `sg-bench list`."""


@dataclass(frozen=True)
class AddOn:
    """Where is found what "name+addon" makes of any entry."""

    config: str
    """"module:function" that takes a name and its config and returns the config of both, or refuses; free of torch."""
    target: str
    """"module:function" that takes a class and returns the class of both."""


class Registry:
    """Entries of one kind by name.

    Args:
        kind: what error messages call an entry.
        builtin: this package's own entries.
        group: of the entry points by which other packages add theirs.
        base: "module:Config", which every entry's config extends.
        target_base: "module:Class", which every entry's class extends.
        addons: what can be joined to an entry's name.
    """

    def __init__(
        self,
        kind: str,
        builtin: dict[str, Entry],
        group: str,
        base: str,
        target_base: str = "builtins:object",
        addons: dict[str, AddOn] | None = None,
    ) -> None:
        self.kind = kind
        self.addons = addons or {}
        self.group = group
        self.base = base
        self.target_base = target_base
        self._entries = dict(builtin)
        self._owners = dict.fromkeys(builtin, "sg-bench")
        self._broken: dict[str, UsageError] = {}
        self._plugins_loaded = False

    def register(self, name: str, entry: Entry, *, owner: str = "this program") -> None:
        """Add an entry.

        Raises:
            UsageError: the name is taken, or cannot be one.
        """
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{self.kind} '{name}' of {owner} cannot be called so",
                hint="Use letters, digits, '_', '-' and '.', and begin with a letter; a '+' joins two names",
            )
        if name in self._entries:
            self._refuse_taken(name, owner, self._owners[name])
        self._entries[name] = entry
        self._owners[name] = owner

    def names(self) -> list[str]:
        """Return all names that can be used, in alphabetical order, those with add-ons left out."""
        self._load_plugins()
        return sorted(self._entries)

    def __contains__(self, name: str) -> bool:
        """Return whether `name`, with or without an add-on, can be used."""
        try:
            self.config(name)
        except UsageError:
            return False
        return True

    def broken(self) -> dict[str, UsageError]:
        """Return what installed packages offer and cannot be used, by name, with the reason."""
        self._load_plugins()
        return dict(sorted(self._broken.items()))

    def entry(self, name: str) -> Entry:
        """Return the entry of `name`, or that to which it joins an add-on.

        Raises:
            UsageError: no such name, and the message suggests the nearest; or it is broken, and the message says how.
        """
        return self._entries[self._parts(name)[0]]

    def config(self, name: str) -> type[Model]:
        """Return the config class of `name` without importing the class that it configures.

        Raises:
            UsageError: no such name, its config cannot be used, or takes no such add-on; names the package.
        """
        base, addon = self._parts(name)
        found = self._config(base, self._entries[base], self._owners[base])
        return _resolve(addon.config)(base, found) if addon else found

    def load(self, name: str) -> Any:
        """Import and return the class of `name`.

        Raises:
            UsageError: no such name, it cannot be imported, or it lacks what its base asks for; names the package.
        """
        base, addon = self._parts(name)
        found = self._class(base, self._entries[base].target, self._owners[base])
        if addon:
            self.config(name)  # refuses what does not go together
        return _resolve(addon.target)(found) if addon else found

    def _parts(self, name: str) -> tuple[str, AddOn | None]:
        """Return the entry's name in `name`, and the add-on that it joins to it."""
        self._load_plugins()
        base, plus, addon = name.partition("+") if self.addons else (name, "", "")
        if base in self._broken and base not in self._entries:
            raise self._broken[base]
        if base not in self._entries:
            where = f" in '{name}'" if plus else ""
            raise UsageError(f"unknown {self.kind} '{base}'{where}", hint=did_you_mean(base, self._entries))
        if plus and addon not in self.addons:
            what = f"{self.kind} '{name}' joins '{addon}' to '{base}', which is no add-on"
            raise UsageError(what, hint=did_you_mean(addon, self.addons))
        return base, self.addons.get(addon)

    def _class(self, name: str, target: str, owner: str) -> type:
        found = self._resolved(name, target, owner)
        what = f"{self.kind} '{name}' of {owner}: its class {target}"
        if not (isinstance(found, type) and issubclass(found, _resolve(self.target_base))):
            raise UsageError(
                f"{what} is no {self.target_base}", hint=f"Let it extend {self.target_base.replace(':', '.')}"
            )
        if inspect.isabstract(found):
            absent = [n for n, value in inspect.getmembers(found) if getattr(value, "__isabstractmethod__", False)]
            raise UsageError(f"{what} lacks {', '.join(absent)}", hint=f"Define {', '.join(f'{a}()' for a in absent)}")
        return found

    def _refuse_taken(self, name: str, owner: str, other: str) -> NoReturn:
        raise UsageError(
            f"{self.kind} '{name}' of {owner} is already registered by {other}", hint="Rename one of the two"
        )

    def _config(self, name: str, entry: Entry, owner: str) -> type[Model]:
        found = self._resolved(name, entry.config, owner)
        base: type[Model] = _resolve(self.base)
        what = f"{self.kind} '{name}' of {owner}: its config {entry.config}"
        if not (isinstance(found, type) and issubclass(found, base)):
            raise UsageError(f"{what} is no {self.base}", hint=f"Let it extend {self.base.replace(':', '.')}")
        for attribute, allowed, least in DECLARED:
            declared = getattr(found, attribute, allowed)
            known = isinstance(declared, (set, frozenset)) and declared <= allowed
            if not known or len(declared) < least:
                raise UsageError(
                    f"{what} declares {attribute} = {_plain(declared)}",
                    hint=f"Let it be a frozenset{' of one or more' * least} of {_plain(allowed)}",
                )
        return found

    def _resolved(self, name: str, target: str, owner: str) -> Any:
        try:
            return _resolve(target)
        except Exception as error:  # a package may do anything when it is imported
            cause = str(error) if isinstance(error, (ImportError, AttributeError)) else _told(error)
            raise UsageError(
                f"{self.kind} '{name}' of {owner}: {target} cannot be imported: {cause}",
                hint="Correct, update or uninstall it",
            ) from error

    def _load_plugins(self) -> None:
        """Register what installed packages offer; what is broken is set aside with the reason."""
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        offered: dict[str, list[metadata.EntryPoint]] = {}
        for point in metadata.entry_points(group=self.group):
            offered.setdefault(point.name, []).append(point)
        for name, points in offered.items():
            try:
                self._offer(name, *sorted(points, key=_owner))
            except UsageError as error:
                self._broken[name] = error

    def _offer(self, name: str, point: metadata.EntryPoint, *others: metadata.EntryPoint) -> None:
        """Register what one package offers, if it can be used and no other offers the same name."""
        owner = _owner(point)
        if others:  # either could be meant
            self._refuse_taken(name, owner, _owner(others[0]))
        entry = self._loaded(point, owner)
        self._config(name, entry, owner)
        self.register(name, entry, owner=owner)

    def _loaded(self, point: metadata.EntryPoint, owner: str) -> Entry:
        try:
            entry = point.load()
        except Exception as error:
            raise UsageError(
                f"{self.kind} '{point.name}' of {owner} cannot be loaded: {_told(error)}",
                hint="Update or uninstall that package",
            ) from error
        if not isinstance(entry, Entry):
            raise UsageError(
                f"{self.kind} '{point.name}' of {owner} is a {type(entry).__name__}, not a registry.Entry",
                hint="Point the entry point at an Entry(config=..., target=..., summary=...)",
            )
        return entry


def _owner(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name if point.dist else 'a package'} ({point.value})"


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _plain(values: Any) -> str:
    """Return a set as "{2, 3}", always in one order; anything else as Python shows it."""
    if not isinstance(values, (set, frozenset)):
        return repr(values)
    return f"{{{', '.join(sorted(map(repr, values)))}}}"


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
        "inpainting": Entry(
            "sg_bench.methods.configs:InpaintingConfig",
            "sg_bench.methods.inpainting:Inpainting",
            "restores random crops painted over with boxes of noise (after Pathak et al. 2016)",
        ),
        "masked_autoencoder": Entry(
            "sg_bench.methods.configs:MaskedAutoencoderConfig",
            "sg_bench.methods.masked_autoencoder:MaskedAutoencoder",
            "restores blanked patches that the encoder never sees (light edition of SparK, Tian et al. 2023)",
        ),
        "imagenet": Entry(
            "sg_bench.methods.published_config:ImageNetConfig",
            "sg_bench.methods.published:Published",
            "published: ResNet-18 trained on ImageNet with labels, for films and slices",
        ),
        "medicalnet": Entry(
            "sg_bench.methods.published_config:MedicalNetConfig",
            "sg_bench.methods.published:Published",
            "published: 3D ResNet trained with labels on many segmentation data sets (Chen et al. 2019)",
        ),
        "models_genesis": Entry(
            "sg_bench.methods.configs:ModelsGenesisConfig",
            "sg_bench.methods.models_genesis:ModelsGenesis",
            "restores corrupted random crops (Zhou et al. 2019)",
        ),
        "models_genesis_published": Entry(
            "sg_bench.methods.published_config:ModelsGenesisPublishedConfig",
            "sg_bench.methods.published:Published",
            "published: the authors' Models Genesis of chest CT (Zhou et al. 2019)",
        ),
        "patch_shuffling": Entry(
            "sg_bench.methods.configs:PatchShufflingConfig",
            "sg_bench.methods.patch_shuffling:PatchShuffling",
            "restores random crops whose patches changed places (context restoration, Chen et al. 2019)",
        ),
        "rotation": Entry(
            "sg_bench.methods.configs:RotationConfig",
            "sg_bench.methods.rotation:Rotation",
            "tells by how many quarters a random crop was turned (Gidaris et al. 2018)",
        ),
        "rubiks_cube": Entry(
            "sg_bench.methods.configs:RubiksCubeConfig",
            "sg_bench.methods.rubiks_cube:RubiksCubeMethod",
            "tells the order and the turns of 2x2x2 sub-cubes (Zhuang et al. 2019); re-implemented from the paper, no "
            "official code exists; 3D only",
        ),
        "scratch": Entry(
            "sg_bench.methods.configs:ScratchConfig",
            "sg_bench.methods.scratch:Scratch",
            "no pretraining: random weights",
        ),
        "semantic_genesis": Entry(
            "sg_bench.methods.configs:SemanticGenesisConfig",
            "sg_bench.methods.semantic_genesis:SemanticGenesis",
            "classifies self-discovered patterns and restores them when corrupted (Haghighi et al. 2020)",
        ),
        "semantic_genesis_published": Entry(
            "sg_bench.methods.published_config:SemanticGenesisPublishedConfig",
            "sg_bench.methods.published:Published",
            "published: the authors' Semantic Genesis of chest CT (Haghighi et al. 2020)",
        ),
        "transvw_published": Entry(
            "sg_bench.methods.published_config:TransVWPublishedConfig",
            "sg_bench.methods.published:Published",
            "published: the authors' TransVW of chest CT (Haghighi et al. 2021)",
        ),
        "self_classification": Entry(
            "sg_bench.methods.configs:SelfClassificationConfig",
            "sg_bench.methods.self_classification:SelfClassification",
            "classifies self-discovered patterns: semantic_genesis without restoration",
        ),
        "self_restoration": Entry(
            "sg_bench.methods.configs:SelfRestorationConfig",
            "sg_bench.methods.self_restoration:SelfRestoration",
            "restores self-discovered patterns when corrupted: semantic_genesis without classification",
        ),
    },
    group="sg_bench.methods",
    base="sg_bench.methods.configs:MethodConfig",
    target_base="sg_bench.methods.base:Method",
    addons={
        "semantics": AddOn("sg_bench.methods.configs:with_semantics", "sg_bench.methods.semantics:with_semantics"),
    },
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
    target_base="sg_bench.data.sources.base:Source",
)
