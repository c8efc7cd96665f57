"""Exports of results: to trackers of experiments, as tidy tables, and as a list of references. Free of torch.

Each library is imported on use and is an optional extra of the package: `pip install sg-bench[tensorboard]`.
"""

from sg_bench.reporting.exports.export import FORMATS, TRACKERS, Exported, export, open_tracker
from sg_bench.reporting.exports.tracked import TrackedRun, tracked_cell, tracked_pretraining, tracked_runs

__all__ = [
    "FORMATS",
    "TRACKERS",
    "Exported",
    "TrackedRun",
    "export",
    "open_tracker",
    "tracked_cell",
    "tracked_pretraining",
    "tracked_runs",
]
