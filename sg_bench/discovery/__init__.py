"""Self-discovery of patterns of similar anatomy. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.discovery.patterns import Reference, Window, draw_references, draw_windows
    from sg_bench.discovery.settings import DiscoverySettings
    from sg_bench.discovery.store import write_patterns

__all__ = [
    "DiscoverySettings",
    "Reference",
    "Window",
    "draw_references",
    "draw_windows",
    "write_patterns",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Reference", "Window", "draw_references", "draw_windows"), "patterns"),
        "DiscoverySettings": "settings",
        "write_patterns": "store",
    },
)
