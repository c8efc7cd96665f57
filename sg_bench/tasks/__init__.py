"""The settings of a task, and the reading of its card."""

from sg_bench.tasks.card import Probe, Task, TaskKind
from sg_bench.tasks.files import DERIVED, read_yaml, validated
from sg_bench.tasks.reading import fine_tunes_all, is_path, parse_reference, read_task
from sg_bench.tasks.settings import Augmentation, DataChoice, Inference, Sampling, Slices

__all__ = [
    "DERIVED",
    "Augmentation",
    "DataChoice",
    "Inference",
    "Probe",
    "Sampling",
    "Slices",
    "Task",
    "TaskKind",
    "fine_tunes_all",
    "is_path",
    "parse_reference",
    "read_task",
    "read_yaml",
    "validated",
]
