"""Area means on a coarser grid equal torch's adaptive average pooling to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from sg_bench.data import area
from sg_bench.data.area import area_means, in_single_precision
from sg_bench.data.cubes import resized

AXIS = st.tuples(st.integers(1, 24), st.integers(1, 24)).map(lambda pair: (max(pair), min(pair)))


def pooled(volume: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if shape == volume.shape:
        return volume.astype(np.float32)
    return interpolate(torch.from_numpy(volume.astype(np.float32))[None, None], size=shape, mode="area")[0, 0].numpy()


@settings(deadline=None, max_examples=200)
@given(st.tuples(AXIS, AXIS, AXIS), st.integers(0, 9), st.sampled_from(["float16", "float32"]))
def test_every_shape_gives_the_bits_of_adaptive_pooling(
    axes: tuple[tuple[int, int], ...], seed: int, dtype: str
) -> None:
    (old, new) = (tuple(axis[side] for axis in axes) for side in (0, 1))
    if new == (1, 1, 1):  # torch takes another path there
        return
    volume = np.random.default_rng(seed).random(old).astype(dtype)
    np.testing.assert_array_equal(area_means(volume, new), pooled(volume, new))


def test_a_large_volume_is_taken_slab_by_slab_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.random.default_rng(0).random((45, 31, 22)).astype(np.float16)
    whole = area_means(volume, (16, 12, 7))
    for slab in (1, 2000, 9000):
        monkeypatch.setattr(area, "SLAB", slab)
        np.testing.assert_array_equal(area_means(volume, (16, 12, 7)), whole)


def test_single_precision_is_a_copy_with_the_values_of_half(tmp_path: Path) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(32, 32, 64)
    np.save(tmp_path / "every.npy", every)
    mapped = np.load(tmp_path / "every.npy", mmap_mode="r")
    out = in_single_precision(mapped[:, :, ::2])
    np.testing.assert_array_equal(out, every[:, :, ::2].astype(np.float32))
    out[:] = 0  # it is no view of a file that must not be written


def test_half_precision_rounds_as_numpy_does() -> None:
    volume = np.random.default_rng(0).random((70, 50, 8)).astype(np.float16)
    half = resized(volume, (64, 64, 8), np.float16)
    np.testing.assert_array_equal(half, resized(volume, (64, 64, 8)).astype(np.float16))
    assert half.dtype == np.float16
