"""Inference on whole images, metrics and rescoring. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.evaluation.inference import predict
    from sg_bench.evaluation.metrics import auc, mean_iou_keras, mean_iou_keras_stream, score
    from sg_bench.evaluation.predictions import Predictions
    from sg_bench.evaluation.rescoring import Rescored, rescore

__all__ = [
    "Predictions",
    "Rescored",
    "auc",
    "mean_iou_keras",
    "mean_iou_keras_stream",
    "predict",
    "rescore",
    "score",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "predict": "inference",
        **dict.fromkeys(("auc", "mean_iou_keras", "mean_iou_keras_stream", "score"), "metrics"),
        "Predictions": "predictions",
        **dict.fromkeys(("Rescored", "rescore"), "rescoring"),
    },
)
