"""Mirrored, turned and axis-swapped copies among fingerprints, found without a fingerprint of each.

The cells of a fingerprint are as many along each axis, so a copy that is mirrored or has its axes swapped has the same
bits in another order; mirroring along one axis also inverts the signs of mixed differences. There are 8 such changes of
a film and 48 of a volume. All of them leave the mean over the changed copies as it is, which holds about one number for
every 8 or 48 bits: pairs are first compared by it, and only similar ones bit by bit.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_SIMILAR = 0.35
"""Least cosine of the means of two fingerprints that are compared bit by bit: 0.74 or more between a real film and its
changed and turned copies, 0.69 or more for volumes. One in a thousand pairs of different films or volumes has it."""


class Symmetry(NamedTuple):
    """A change of the axes of an image."""

    order: tuple[int, ...]
    """The old axis at each new place."""
    mirrored: tuple[int, ...]
    """New axes that are reversed."""

    @property
    def sign(self) -> int:
        """Return what mixed differences are multiplied by: -1 for an odd number of mirrored axes."""
        return -1 if len(self.mirrored) % 2 else 1

    def of(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Return a view of `cells` (n, *sides) with the axes of each changed."""
        turned = cells.transpose(0, *(axis + 1 for axis in self.order))
        found: NDArray[Any] = np.flip(turned, tuple(axis + 1 for axis in self.mirrored))
        return found


@cache
def symmetries(dimension: int) -> tuple[Symmetry, ...]:
    """Return all changes of 2 or 3 axes, 8 or 48, the unchanged ones first."""
    flips = [tuple(axis for axis in range(dimension) if chosen[axis]) for chosen in product((0, 1), repeat=dimension)]
    return tuple(Symmetry(order, mirrored) for order in permutations(range(dimension)) for mirrored in flips)


def invariants(signed: NDArray[np.float32], sides: tuple[int, ...]) -> NDArray[np.float32]:
    """Return unit vectors that no symmetry changes, one for each fingerprint.

    Args:
        signed: (fingerprints, bits): 1 or -1, 0 for a bit that does not count.
        sides: cells along each axis, equal and even numbers.

    Returns:
        (fingerprints, orbits); a fingerprint whose bits cancel is 0.
    """
    cells = signed.reshape(-1, *sides)
    total = np.zeros_like(cells)
    for each in symmetries(len(sides)):
        total += each.sign * each.of(cells)
    first, size = _orbits(sides)
    found: NDArray[np.float32] = total.reshape(len(cells), -1)[:, first] * np.sqrt(size, dtype=np.float32)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    units: NDArray[np.float32] = found / np.maximum(length, np.float32(1e-9))
    return units


@cache
def _orbits(sides: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one cell of each set of cells that the symmetries exchange, and the size of each set."""
    places = np.arange(np.prod(sides)).reshape(1, *sides)
    least: NDArray[np.int64] = np.min(np.stack([each.of(places) for each in symmetries(len(sides))]), axis=0)
    return np.unique(least, return_counts=True)
