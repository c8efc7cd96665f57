"""Noise as a pure function of a seed and a position, in integer arithmetic.

A generator's output depends on the order of its calls, and differs between CPU and GPU. A hash of (seed, position)
does not: one image or a batch, any device, any number of threads, the noise is the same bit for bit.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.config import Shape

_WORD = 0xFFFFFFFF
_FIRST, _SECOND = 0x21F0AAAD, 0xD35A2D97 - 2**32  # the second as a signed word, so that a product fits into 64 bits
_GOLDEN = 0x9E3779B9  # the hash maps 0 to 0; this keeps it away from there


def draw_seed(rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a seed for this module: a scalar array in [0, 2**63)."""
    return np.asarray(rng.integers(2**63, dtype=np.int64))


def words(seeds: Tensor, count: int, *, start: int = 0) -> Tensor:
    """Return `count` random 32-bit words for each seed, from position `start` on.

    `seeds` is (B,) int64; the words are (B, count) int64, uniform in [0, 2**32), on the same device.
    """
    first = _mixed(seeds & _WORD ^ _GOLDEN)
    second = _mixed(_mixed(first ^ seeds >> 32 & _WORD) ^ _GOLDEN)  # depends on all of the seed, as `first` does not
    position = torch.arange(start, start + count, device=seeds.device)
    return _mixed(_mixed(position ^ first[:, None]) ^ second[:, None])


def uniform(seeds: Tensor, shape: Shape) -> Tensor:
    """Return (B, 1, X, Y, Z) float32, uniform in [0, 1) with 24 random bits, one field for each seed of (B,)."""
    values = (words(seeds, math.prod(shape)) >> 8).to(torch.float32) * 2.0**-24
    return values.view(-1, 1, *shape)


def below(random: Tensor, bound: Tensor) -> Tensor:
    """Turn 32-bit words into integers uniform in [0, bound); `bound` is at most 2**31 and broadcasts."""
    return random * bound >> 32


def _mixed(word: Tensor) -> Tensor:
    """Hash 32-bit words held in int64, one to one.

    The form is that of MurmurHash3's finaliser; the constants come from hash-prospector's search for low bias.
    """
    word = (word ^ word >> 16) * _FIRST & _WORD
    word = (word ^ word >> 15) * _SECOND & _WORD
    return word ^ word >> 15
