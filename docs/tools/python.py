"""The reference of the Python interface, for mkdocstrings: what each package exports."""

from __future__ import annotations

import importlib

PACKAGES = {
    "sg_bench": "Everything that the command line does.",
    "sg_bench.methods": "What a method is made of.",
    "sg_bench.networks": "Backbones, decoders and heads.",
    "sg_bench.registry": "Names of methods, networks and data sources.",
    "sg_bench.config": "The base of settings, and shared ones.",
    "sg_bench.statistics": "Intervals, effect sizes, tests and power.",
    "sg_bench.testing": "The conformance kit.",
}


def python_page() -> str:
    """Return the page: one section for each public package, one entry for each name that it exports."""
    blocks = ["# Python", "What these packages export is public: it changes with a line in the changelog."]
    for name, what in PACKAGES.items():
        blocks += [f"## {name}", what]
        exported = [each for each in importlib.import_module(name).__all__ if not each.startswith("__")]
        blocks += [f"::: {_home(name, each)}\n    options:\n      heading_level: 3" for each in exported]
    return "\n\n".join(blocks) + "\n"


def _home(package: str, name: str) -> str:
    """Return where a name is defined; constants and aliases are where they are exported."""
    found = getattr(importlib.import_module(package), name)
    module, own = getattr(found, "__module__", ""), getattr(found, "__qualname__", "")
    return f"{module}.{own}" if module.startswith("sg_bench.") and own else f"{package}.{name}"
