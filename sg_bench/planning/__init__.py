"""Suite -> stores, discoveries, pretrainings, cells; their keys; what is missing and why."""

from sg_bench.planning.planner import PRINTED, plan
from sg_bench.planning.plans import LAST, ROOMS, Job, Kind, Plan, PlannedCell, Recipe, is_built, why_missing
from sg_bench.planning.stores import corpus_parts, open_source, store_recipe

__all__ = [
    "LAST",
    "PRINTED",
    "ROOMS",
    "Job",
    "Kind",
    "Plan",
    "PlannedCell",
    "Recipe",
    "corpus_parts",
    "is_built",
    "open_source",
    "plan",
    "store_recipe",
    "why_missing",
]
