"""Sources of public data sets, prepared stores and splits by patient. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.data.cubes import Cubes, random_crops, whole_volumes
    from sg_bench.data.leakage import overlap
    from sg_bench.data.sources.base import Candidate, Case, Problem, Source, SourceConfig, Study
    from sg_bench.data.splits import assign, nested_subset
    from sg_bench.data.store import Store, StoredCase

__all__ = [
    "Candidate",
    "Case",
    "Cubes",
    "Problem",
    "Source",
    "SourceConfig",
    "Store",
    "StoredCase",
    "Study",
    "assign",
    "nested_subset",
    "overlap",
    "random_crops",
    "whole_volumes",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Cubes", "random_crops", "whole_volumes"), "cubes"),
        "overlap": "leakage",
        **dict.fromkeys(("Candidate", "Case", "Problem", "Source", "SourceConfig", "Study"), "sources.base"),
        **dict.fromkeys(("assign", "nested_subset"), "splits"),
        **dict.fromkeys(("Store", "StoredCase"), "store"),
    },
)
