"""From a suite to its stores, discoveries, pretrainings and cells, with their keys, and what is missing and why."""

from sg_bench.planning.activity import Activity, JobProgress, activity, read_progress
from sg_bench.planning.budget import Portion, portions
from sg_bench.planning.leftovers import RETRIED, Leftover, delete, leftovers
from sg_bench.planning.measurements import (
    START,
    Measurement,
    cost_name,
    hardware_name,
    keep_measurement,
    measured_hardware,
    training_settings,
)
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
from sg_bench.planning.price import JobPrice, Machines, Price, needs_device, price, unmeasured
from sg_bench.planning.runs import Predicted, WorkspaceRun, is_alive, is_locked, predicted_of, read_runs, registered
from sg_bench.planning.shown import shown_bytes, shown_duration
from sg_bench.planning.stores import open_source, store_recipe

__all__ = [
    "FOLDERS",
    "LAST",
    "RETRIED",
    "STAGES",
    "START",
    "Activity",
    "Job",
    "JobPrice",
    "JobProgress",
    "Leftover",
    "Machines",
    "Measurement",
    "Plan",
    "PlannedCell",
    "Portion",
    "Predicted",
    "Price",
    "TypedJob",
    "WorkspaceRun",
    "activity",
    "cost_name",
    "delete",
    "hardware_name",
    "is_alive",
    "is_built",
    "is_locked",
    "keep_measurement",
    "leftovers",
    "measured_hardware",
    "needs_device",
    "open_source",
    "plan",
    "portions",
    "predicted_of",
    "prepares_store",
    "price",
    "read_progress",
    "read_runs",
    "refresh",
    "registered",
    "shown_bytes",
    "shown_duration",
    "store_recipe",
    "training_settings",
    "unmeasured",
    "why_missing",
]
