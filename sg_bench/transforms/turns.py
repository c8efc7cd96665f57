"""Rotations by multiples of 90 degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape
from sg_bench.errors import MethodError
from sg_bench.transforms import settings
from sg_bench.transforms.base import Images, Params, Transform
from sg_bench.transforms.streams import RandomStreams

PLANES: dict[str, tuple[tuple[int, int], ...]] = {"z": ((0, 1),), "all": ((0, 1), (1, 2), (0, 2))}
"""Planes of rotation: (x, y) is about z, (y, z) about x, (x, z) about y."""


class QuarterTurns(Transform):
    """Rotate images by a multiple of 90 degrees, all rotations equally likely.

    Rotation 0 is the identity; 1, 2 and 3 are by 90, 180 and 270 degrees about z, 4 to 6 about x, 7 to 9 about y.

    Source: Gidaris et al., "Unsupervised representation learning by predicting image rotations" (ICLR 2018), in the
    plane; Taleb et al., "3D self-supervised methods for medical imaging" (2020), about every axis.
    """

    def __init__(self, config: settings.QuarterTurnsSettings) -> None:
        self.planes = PLANES[config.axes]

    @property
    def ways(self) -> int:
        """Return the number of rotations, the identity included."""
        return 1 + 3 * len(self.planes)

    def sample(self, random: RandomStreams, shape: Shape) -> Params:
        """Return `turn`, (B,), the index of a rotation.

        Raises:
            MethodError: a rotation would change the image's shape.
        """
        for one, other in self.planes:
            if shape[one] != shape[other]:
                wanted = "a square plane (X = Y)" if len(self.planes) == 1 else "cubic images (X = Y = Z)"
                raise MethodError(f"these rotations take {wanted}, not {shape}", hint="Set the crops' `cube` so")
        return {"turn": random.integers(0, self.ways - 1)}

    def apply_in_place(self, images: Images, params: Params, rows: NDArray[np.int64]) -> None:
        """Rotate each image."""
        for row in rows[params["turn"][rows] > 0]:
            plane, quarters = divmod(int(params["turn"][row]) - 1, 3)
            one, other = self.planes[plane]
            images[row] = np.rot90(images[row], quarters + 1, (1 + one, 1 + other)).copy()
