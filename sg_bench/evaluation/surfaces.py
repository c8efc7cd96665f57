"""Distances between the surfaces of a predicted and a true mask, in mm, by MONAI."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 2.0
"""mm within which two surfaces agree in `nsd`."""
PERCENTILE = 95.0


def hd95(predicted: NDArray[Any], truth: NDArray[Any], spacing: Sequence[float]) -> float:
    """Return the 95th percentile of the distances from either surface to the other, in mm: the greater of both.

    Both empty: NaN. One empty: the diagonal of the image, as no distance is longer.

    Args:
        predicted: (x, y, z), 0 or 1; a film is (x, y, 1).
        truth: the same.
        spacing: mm along each axis.
    """
    either = int(predicted.any()) + int(truth.any())
    if either < 2:
        diagonal = math.sqrt(sum((side * mm) ** 2 for side, mm in zip(truth.shape, spacing, strict=True)))
        return diagonal if either else math.nan
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    a, b = _tensors(predicted, truth)
    found = compute_hausdorff_distance(
        a, b, include_background=True, percentile=PERCENTILE, spacing=_axes(truth, spacing)
    )
    return float(found)


def nsd(predicted: NDArray[Any], truth: NDArray[Any], spacing: Sequence[float]) -> float:
    """Return the share of both surfaces that is within `TOLERANCE` of the other; both empty: NaN, one empty: 0."""
    either = int(predicted.any()) + int(truth.any())
    if either < 2:
        return 0.0 if either else math.nan
    from monai.metrics.surface_dice import compute_surface_dice

    a, b = _tensors(predicted, truth)
    found = compute_surface_dice(
        a, b, class_thresholds=[TOLERANCE], include_background=True, spacing=_axes(truth, spacing)
    )
    return float(found)


SURFACE_METRICS = {"hd95": hd95, "nsd": nsd}


def _tensors(*masks: NDArray[Any]) -> list[Any]:
    """Return (1, 1, x, y[, z]) tensors; the last axis of a film is left out."""
    import torch

    flat = masks[0].shape[2] == 1
    return [
        torch.from_numpy(np.ascontiguousarray(mask[..., 0] if flat else mask, np.float32))[None, None] for mask in masks
    ]


def _axes(mask: NDArray[Any], spacing: Sequence[float]) -> list[float]:
    return [float(mm) for mm in spacing][: 2 if mask.shape[2] == 1 else 3]
