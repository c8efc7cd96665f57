"""A registry of names: built-in classes and those of installed packages, imported when they are used.

An entry names two things as "module:attribute": a torch-free config, which planning reads, and the class itself, which
only a worker imports. A package adds its own by an entry point in the group `sg_bench.methods`, `sg_bench.networks` or
`sg_bench.sources` that resolves to an `Entry`. An entry point that cannot be used raises its error only when its name
is asked for. A "+" joins the names of a method and of an add-on, which works with any method: "inpainting+semantics".
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
from sg_bench.registry.plugins import PluginCode, plugin_code

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
"""Valid names of methods, networks and sources."""
DECLARED: tuple[tuple[str, frozenset[Any], int], ...] = (
    ("needs", frozenset({"corpus", "patterns", "weights"}), 0),
    ("dimensions", frozenset({2, 3}), 1),
)
"""Class attributes that a config may declare: name, allowed values, least number of them."""


@dataclass(frozen=True)
class Entry:
    """Import paths of a method, network or source."""

    config: str
    """"module:Config", a subclass of the registry's `base`; its module imports neither torch nor ray."""
    target: str
    """"module:Class"."""
    summary: str
    """One line for `sg-bench list`."""


@dataclass(frozen=True)
class AddOn:
    """Import paths of an add-on, which "name+addon" applies to an entry."""

    config: str
    """"module:function" from a name and its config class to the config class with the add-on; free of torch.
    It raises UsageError where the two do not go together."""
    target: str
    """"module:function" from a class to the class with the add-on."""


class Registry:
    """Entries of one kind by name.

    Args:
        kind: name of the kind in error messages.
        builtin: this package's own entries.
        group: group of the entry points by which other packages add theirs.
        base: "module:Config", the base class of every config.
        target_base: "module:Class", the base class of every entry's class.
        addons: add-ons by name.
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
        self._builtin = frozenset(builtin)
        self._distributions: dict[str, metadata.Distribution | None] = {}
        self._broken: dict[str, UsageError] = {}
        self._plugins_loaded = False

    def register(self, name: str, entry: Entry, *, owner: str = "this program") -> None:
        """Add an entry.

        Raises:
            UsageError: the name is taken or not valid.
        """
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{self.kind} '{name}' of {owner}: the name is not valid",
                hint="Use letters, digits, '_', '-' and '.', and begin with a letter; '+' is for add-ons",
            )
        if name in self._entries:
            self._refuse_taken(name, owner, self._owners[name])
        self._entries[name] = entry
        self._owners[name] = owner

    def names(self) -> list[str]:
        """Return all usable names in alphabetical order, without those of add-ons."""
        self._load_plugins()
        return sorted(self._entries)

    def __contains__(self, name: str) -> bool:
        """Return whether `name`, with or without an add-on, is usable."""
        try:
            self.config(name)
        except UsageError:
            return False
        return True

    def broken(self) -> dict[str, UsageError]:
        """Return the entry points that cannot be used: their errors by name."""
        self._load_plugins()
        return dict(sorted(self._broken.items()))

    def entry(self, name: str) -> Entry:
        """Return the entry of `name`, without its add-on.

        Raises:
            UsageError: there is no such name, or its entry point cannot be used.
        """
        return self._entries[self._parts(name)[0]]

    def config(self, name: str) -> type[Model]:
        """Return the config class of `name` without importing the class that it configures.

        Raises:
            UsageError: no such name, its config cannot be used, or does not go with the add-on; names the package.
        """
        base, addon = self._parts(name)
        found = self._config(base, self._entries[base], self._owners[base])
        return _resolve(addon.config)(base, found) if addon else found

    def load(self, name: str) -> Any:
        """Import and return the class of `name`.

        Raises:
            UsageError: no such name, it cannot be imported, or it lacks a method of its base; names the package.
        """
        base, addon = self._parts(name)
        found = self._class(base, self._entries[base].target, self._owners[base])
        if addon:
            self.config(name)  # raises where the two do not go together
        return _resolve(addon.target)(found) if addon else found

    def plugin(self, name: str) -> PluginCode | None:
        """Return the code of `name`, where it is not part of sg-bench; its files are read anew in every call.

        Raises:
            UsageError: no such name, or its source files cannot be found.
        """
        base, _ = self._parts(name)
        if base in self._builtin:
            return None
        entry = self._entries[base]
        return plugin_code([entry.config, entry.target], self._distributions.get(base))

    def _parts(self, name: str) -> tuple[str, AddOn | None]:
        """Return the entry's name in `name`, and the add-on if there is one."""
        self._load_plugins()
        base, plus, addon = name.partition("+") if self.addons else (name, "", "")
        if base in self._broken and base not in self._entries:
            raise self._broken[base]
        if base not in self._entries:
            where = f" in '{name}'" if plus else ""
            raise UsageError(f"unknown {self.kind} '{base}'{where}", hint=did_you_mean(base, self._entries))
        if plus and addon not in self.addons:
            what = f"{self.kind} '{name}': there is no add-on '{addon}'"
            raise UsageError(what, hint=did_you_mean(addon, self.addons))
        return base, self.addons.get(addon)

    def _class(self, name: str, target: str, owner: str) -> type:
        found = self._resolved(name, target, owner)
        what = f"{self.kind} '{name}' of {owner}: its class {target}"
        if not (isinstance(found, type) and issubclass(found, _resolve(self.target_base))):
            raise UsageError(
                f"{what} is not a {self.target_base}", hint=f"Let it extend {self.target_base.replace(':', '.')}"
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
            raise UsageError(f"{what} is not a {self.base}", hint=f"Let it extend {self.base.replace(':', '.')}")
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
            cause = str(error) if isinstance(error, (ImportError, AttributeError)) else _described(error)
            raise UsageError(
                f"{self.kind} '{name}' of {owner}: {target} cannot be imported: {cause}",
                hint="Correct, update or uninstall it",
            ) from error

    def _load_plugins(self) -> None:
        """Register the entry points of installed packages; keep the errors of those that cannot be used."""
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
        """Register an entry point that can be used and whose name no other package has."""
        owner = _owner(point)
        if others:  # ambiguous
            self._refuse_taken(name, owner, _owner(others[0]))
        entry = self._loaded(point, owner)
        self._config(name, entry, owner)
        self.register(name, entry, owner=owner)
        self._distributions[name] = point.dist

    def _loaded(self, point: metadata.EntryPoint, owner: str) -> Entry:
        try:
            entry = point.load()
        except Exception as error:
            raise UsageError(
                f"{self.kind} '{point.name}' of {owner} cannot be loaded: {_described(error)}",
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


def _described(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _plain(values: Any) -> str:
    """Return a set as "{2, 3}", sorted; anything else as its repr."""
    if not isinstance(values, (set, frozenset)):
        return repr(values)
    return f"{{{', '.join(sorted(map(repr, values)))}}}"


def _resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
