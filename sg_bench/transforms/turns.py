"""Rotations by multiples of 90 degrees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.errors import MethodError
from sg_bench.transforms import settings
from sg_bench.transforms.base import Params, Transform

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

    def sample(self, rng: np.random.Generator, shape: Shape) -> Params:
        """Return `turn`, the index of a rotation.

        Raises:
            MethodError: a rotation would change the image's shape.
        """
        for one, other in self.planes:
            if shape[one] != shape[other]:
                wanted = "a square plane (X = Y)" if len(self.planes) == 1 else "cubic images (X = Y = Z)"
                raise MethodError(f"these rotations take {wanted}, not {shape}", hint="Set the crops' `cube` so")
        return {"turn": np.asarray(rng.integers(self.ways))}

    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Return the rotated images; `turn` is (B,)."""
        return torch.stack([self._rotate(image, int(turn)) for image, turn in zip(images, params["turn"], strict=True)])

    def _rotate(self, image: Tensor, turn: int) -> Tensor:
        if turn == 0:
            return image
        one, other = self.planes[(turn - 1) // 3]
        return image.rot90((turn - 1) % 3 + 1, (1 + one, 1 + other))
