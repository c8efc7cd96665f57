"""Non-linear intensity transform."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform


class BezierIntensity(Transform):
    """Map intensities along the cubic Bezier curve of (0, 0), (u1, u2), (u3, u4), (1, 1), every u from U[0, 1).

    Control points inside the unit square make both coordinates increase along the curve, so it is the graph of a
    monotone map of [0, 1] onto itself. Half of the maps are inverted: they decrease from 0 -> 1 to 1 -> 0. Values
    outside of [0, 1] are clipped.

    Source: Models Genesis (arXiv:1908.06912), section 2, and its official code for the inverted half.
    """

    def __init__(self, config: settings.BezierSettings) -> None:
        self.config = config

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `points`, (2, 2) float64, the inner control points as (x, y), and `inverted`, a bool."""
        return {"points": rng.random((2, 2)), "inverted": np.asarray(rng.random() < self.config.inverted)}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the mapped `images`; `points` is (B, 2, 2), `inverted` (B,)."""
        x, y = (table.to(images.device) for table in self._curves(params["points"], params["inverted"]))
        values = images.flatten(1).to(torch.float64)
        mapped = torch.stack([_interpolated(*row) for row in zip(values, x, y, strict=True)])
        return mapped.view(images.shape).to(images.dtype)

    def _curves(self, points: Tensor, inverted: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (increasing from 0 to 1) and y of points along the curves, (B, nodes) float64.

        Steep curves have many points that are equal in float32.
        """
        t = torch.linspace(0, 1, self.config.nodes, dtype=torch.float64, device=points.device)
        inner = points[..., None] * torch.stack([3 * t * (1 - t) * (1 - t), 3 * t * t * (1 - t)])[:, None]
        x, y = (inner[:, 0] + inner[:, 1] + t * t * t).unbind(1)
        return x.cummax(1).values, torch.where(inverted[:, None], y.flip(1), y)


def _interpolated(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return y(x) at `values` by linear interpolation; all are one-dimensional, and x increases."""
    right = torch.searchsorted(x, values).clamp(1, len(x) - 1)
    left = right - 1
    width = (x[1:] - x[:-1]).clamp(min=torch.finfo(x.dtype).tiny)[left]
    share = ((values - x[left]) / width).clamp(0, 1)
    return (y[left] + (y[right] - y[left]) * share).clamp(0, 1)
