"""Noise as a pure function of seed and position, in integer arithmetic.

The output of a random generator depends on the order of its calls, and differs between CPU and GPU. A hash of
(seed, position) gives the same bits for one image and for a batch, on any device and with any number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape

_WORD = 0xFFFFFFFF
_FIRST, _SECOND = 0x21F0AAAD, 0xD35A2D97 - 2**32  # the second as a signed word, so that products fit into 64 bits
_GOLDEN = 0x9E3779B9  # an offset, because the hash maps 0 to 0


def draw_seed(rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random seed for this module's functions: a scalar array in [0, 2**63)."""
    return np.asarray(rng.integers(2**63, dtype=np.int64))


def random_words(seeds: Tensor, count: int, *, start: int = 0) -> Tensor:
    """Return `count` random 32-bit integers for each seed, from position `start` on.

    `seeds` is (B,) int64; the result is (B, count) int64, uniform in [0, 2**32), on the same device.
    """
    first = _mix(seeds & _WORD ^ _GOLDEN)
    second = _mix(_mix(first ^ seeds >> 32 & _WORD) ^ _GOLDEN)  # depends on all bits of the seed
    position = torch.arange(start, start + count, device=seeds.device)
    return _mix(_mix(position ^ first[:, None]) ^ second[:, None])


def uniform(seeds: Tensor, shape: Shape) -> Tensor:
    """Return (B, 1, X, Y, Z) float32, uniform in [0, 1) with 24 random bits; `seeds` is (B,)."""
    values = (random_words(seeds, math.prod(shape)) >> 8).to(torch.float32) * 2.0**-24
    return values.view(-1, 1, *shape)


def below(random: Tensor, bound: Tensor) -> Tensor:
    """Map random 32-bit integers to integers uniform in [0, bound); `bound` is at most 2**31 and broadcasts."""
    return random * bound >> 32


def _mix(word: Tensor) -> Tensor:
    """Return an invertible hash of 32-bit integers in int64.

    Source: the finaliser of MurmurHash3, with constants from hash-prospector's search for low bias.
    """
    word = (word ^ word >> 16) * _FIRST & _WORD
    word = (word ^ word >> 15) * _SECOND & _WORD
    return word ^ word >> 15
