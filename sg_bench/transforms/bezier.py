"""Non-linear intensity transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.transforms import kernels, settings
from sg_bench.transforms.base import Images, Params, Transform
from sg_bench.transforms.streams import RandomStreams


class BezierIntensity(Transform):
    """Map intensities along the cubic Bezier curve of (0, 0), (u1, u2), (u3, u4), (1, 1), every u from U[0, 1).

    Control points inside the unit square make both coordinates increase along the curve, so it is the graph of a
    monotone map of [0, 1] onto itself. Half of the maps are inverted: they decrease from 0 -> 1 to 1 -> 0. Values
    outside of [0, 1] are clipped.

    Source: Models Genesis (arXiv:1908.06912), section 2, and its official code for the inverted half.
    """

    def __init__(self, config: settings.BezierSettings) -> None:
        self.config = config

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `points`, (B, 2, 2) float64, the inner control points as (x, y), and `inverted`, (B,) bool."""
        return {"points": random.random(2, 2), "inverted": random.random() < self.config.inverted}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Map the intensities of each image."""
        kernels.map_intensities(images, rows, *self._curves(params["points"][rows], params["inverted"][rows]))

    def _curves(
        self, points: NDArray[np.float64], inverted: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x (increasing from 0 to 1) and y of points along the curves, (rows, nodes) float64.

        Steep curves have many points that are equal in float32.
        """
        t = np.linspace(0, 1, self.config.nodes)
        weights = np.stack([3 * t * (1 - t) * (1 - t), 3 * t * t * (1 - t)])
        curves = points.transpose(0, 2, 1) @ weights + t * t * t
        x, y = np.maximum.accumulate(curves[:, 0], axis=1), curves[:, 1]
        return x, np.where(inverted[:, None], y[:, ::-1], y)
