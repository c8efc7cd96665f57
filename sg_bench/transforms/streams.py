"""Random numbers of a batch: one stream for each image, as a function of the image's seed and a position.

A number does not depend on the other images of the batch, nor on how many there are. All images of a batch are drawn at
once. The generator is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), which `kernels.py` computes too.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(bits) for bits in (30, 27, 31, 11))


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of 64-bit words, one to one."""
    words = (words ^ (words >> _S30)) * FIRST
    words = (words ^ (words >> _S27)) * SECOND
    return words ^ (words >> _S31)


class RandomStreams:
    """Random numbers for the images of a batch; each method returns arrays with the batch axis first.

    Args:
        keys: (B,) or (B, n) integers: images with equal keys have equal random numbers.

    Raises:
        ValueError: there are no keys.
    """

    def __init__(self, keys: ArrayLike) -> None:
        table = np.atleast_1d(np.array(keys, np.uint64))
        if not len(table):
            raise ValueError("a batch needs at least one image, but there are no keys")
        seeds = np.full(len(table), GOLDEN)
        for column in table.reshape(len(table), -1).T:
            seeds = mix(seeds + mix(column + GOLDEN))
        self._seeds, self._drawn = seeds, 0

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._seeds)

    def words(self, *shape: int) -> NDArray[np.uint64]:
        """Return (B, *shape) random 64-bit words."""
        count = math.prod(shape)
        positions = np.arange(self._drawn + 1, self._drawn + 1 + count, dtype=np.uint64)
        self._drawn += count
        return mix(self._seeds[:, None] + positions * GOLDEN).reshape(len(self), *shape)

    def random(self, *shape: int) -> NDArray[np.float64]:
        """Return (B, *shape) uniform numbers in [0, 1)."""
        return (self.words(*shape) >> _S11).astype(np.float64) * 2.0**-53

    def integers(self, low: ArrayLike, high: ArrayLike, *shape: int) -> NDArray[np.int64]:
        """Return (B, *shape) integers, uniform from `low` to `high`, both included; the bounds are broadcast."""
        low, high = np.asarray(low, np.int64), np.asarray(high, np.int64)
        drawn: NDArray[np.int64] = low + (self.random(*shape) * (high - low + 1)).astype(np.int64)
        return drawn

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """Return (B, *shape) standard normal numbers (Box and Muller 1958)."""
        radius = np.sqrt(-2 * np.log1p(-self.random(*shape)))
        out: NDArray[np.float64] = radius * np.cos(2 * np.pi * self.random(*shape))
        return out

    def permutation(self, count: int) -> NDArray[np.int64]:
        """Return (B, count): for each image a random order of 0 to count - 1."""
        return np.argsort(self.random(count), axis=1, kind="stable")

    def seeds(self) -> NDArray[np.int64]:
        """Return (B,) seeds in [0, 2**63) of further streams."""
        return (self.words() >> np.uint64(1)).astype(np.int64)
