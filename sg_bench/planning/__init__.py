"""From a suite to its stores, discoveries, pretrainings and cells, with their keys, and what is missing and why."""

from sg_bench.planning.planner import plan
from sg_bench.planning.plans import (
    FOLDERS,
    LAST,
    STAGES,
    Job,
    Plan,
    PlannedCell,
    TypedJob,
    is_built,
    prepares_store,
    refresh,
    why_missing,
)
from sg_bench.planning.shown import shown_bytes, shown_duration
from sg_bench.planning.stores import open_source, store_recipe

__all__ = [
    "FOLDERS",
    "LAST",
    "STAGES",
    "Job",
    "Plan",
    "PlannedCell",
    "TypedJob",
    "is_built",
    "open_source",
    "plan",
    "prepares_store",
    "refresh",
    "shown_bytes",
    "shown_duration",
    "store_recipe",
    "why_missing",
]
