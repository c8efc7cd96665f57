"""Sentences under a table: which networks were compared, and whose weights nobody has verified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sg_bench.config import canonical_json
from sg_bench.ledger import Record
from sg_bench.networks.configs import papers_network
from sg_bench.networks.published.catalogue import CATALOGUE

if TYPE_CHECKING:
    from sg_bench.reporting.tables import Table

GENERAL = frozenset({"dimension", "in_channels", "version"})
"""Settings that every network has, and that are not printed."""


def network_notes(table: Table) -> list[str]:
    """Return one sentence with the methods of each network, or nothing where all are those that the papers compared."""
    configs = [(cell.method, _config(record)) for cell, record in table.done]
    if not any("network" in config for _, config in configs):
        return []
    rows = [row.method for row in table.rows]
    networks: dict[tuple[str, str], dict[int, None]] = {}
    methods: dict[tuple[str, str], dict[str, None]] = {}
    for method, config in configs:
        if method in rows:
            identity = network_identity(config)
            networks.setdefault(identity, {})[int(config.get("dimension", 3))] = None
            methods.setdefault(identity, {})[method] = None
    names = [name for name, _ in networks]
    shown = {
        (name, settings): f"{name} in {' and '.join(f'{each}D' for each in sorted(dimensions))}"
        + (f" with {settings}" if names.count(name) > 1 and settings else "")
        for (name, settings), dimensions in networks.items()
    }
    measured = {method for found in methods.values() for method in found}
    if all(found.keys() == measured for found in methods.values()):
        return [f"Network of all methods, pretrained or not: {', '.join(shown.values())}."]
    groups = (f"{shown[each]} ({', '.join(row for row in rows if row in methods[each])})" for each in networks)
    return [f"Networks: {'; '.join(groups)}."]


def weights_notes(table: Table) -> list[str]:
    """Return one sentence with the published weights whose hash is not known to sg-bench, and with own checkpoints."""
    rows = {row.method for row in table.rows}
    found: dict[str, None] = {}
    for cell, record in table.done:
        config = _config(record)
        entry = CATALOGUE.get(str(config.get("weights")))
        if cell.method in rows and config.get("weights") and not (entry and entry.sha256_start):
            origin = (
                "by its name only" if entry else f"an own file, with the declared corpus {config['seen']['corpus']}"
            )
            found[f"{cell.method} ({origin}, SHA-256 {config['sha256'][:12]}...)"] = None
    return [f"Unverified weights: {'; '.join(found)}."] if found else []


def _config(record: Record) -> dict[str, Any]:
    """Return the settings of a cell's method; {} in records of early versions."""
    initialisation = (record.get("recipe") or {}).get("initialisation") or {}
    return dict(initialisation.get("config") or {})


def network_identity(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return a network's name and its settings in words."""
    network = config.get("network")
    if network is None:
        papers = papers_network(2 if config.get("dimension") == 2 else 3).name
        return str(config.get("architecture") or papers), f"width {config.get('width')}"
    own = {name: value for name, value in network["config"].items() if name not in GENERAL}
    return str(network["name"]), ", ".join(f"{name} {canonical_json(own[name])}" for name in sorted(own))
