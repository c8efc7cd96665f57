"""Settings that several parts of the package share, and the keys that name results."""

from sg_bench.config.data import PARTS, AirRule, CropRule, Outside, Part, Preparation, Split
from sg_bench.config.keys import canonical_json, differences, key_of, merged
from sg_bench.config.model import Border, Dimensional, Fraction, Model, NotNegative, Positive, Shape, SpatialDims
from sg_bench.config.training import Optimiser, Schedule, Stage, Training

__all__ = [
    "PARTS",
    "AirRule",
    "Border",
    "CropRule",
    "Dimensional",
    "Fraction",
    "Model",
    "NotNegative",
    "Optimiser",
    "Outside",
    "Part",
    "Positive",
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
