"""Settings that several parts of the package share, and the keys that name results; free of torch."""

from sg_bench.config.data import PARTS, AirRule, CropRule, Outside, Part, Preparation, Split
from sg_bench.config.keys import canonical_json, differences, key_of, merged
from sg_bench.config.model import (
    AddedLater,
    Border,
    Dimensional,
    Fraction,
    Model,
    NotInKey,
    NotNegative,
    Positive,
    Shape,
    SpatialDims,
)
from sg_bench.config.training import Optimiser, Precision, Schedule, Stage, Training

__all__ = [
    "PARTS",
    "AddedLater",
    "AirRule",
    "Border",
    "CropRule",
    "Dimensional",
    "Fraction",
    "Model",
    "NotInKey",
    "NotNegative",
    "Optimiser",
    "Outside",
    "Part",
    "Positive",
    "Precision",
    "Preparation",
    "Schedule",
    "Shape",
    "SpatialDims",
    "Split",
    "Stage",
    "Training",
    "canonical_json",
    "differences",
    "key_of",
    "merged",
]
