"""The compiled loops give the very numbers of the plain formulas in NumPy, however an image lies in memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from nibabel.orientations import apply_orientation
from numpy.typing import NDArray
from scipy import ndimage

from sg_bench.config import Preparation
from sg_bench.data.grids import AxisTurn, GridAxis, filled, new_axes, picked, turn_to
from sg_bench.data.kernels import resample
from sg_bench.data.prepare import prepare, scaled
from sg_bench.data.sources.base import Study

GRIDS = [
    {},
    {"spacing": (1, 1, 1)},
    {"spacing": (0.4, 3.1, 2)},
    {"shape": (8, 50, None)},
    {"shape": (None, 13, 90)},
    {"shape": (300, 5, 1)},
]
ORDERS = list(itertools.permutations(range(3)))
WINDOW = (np.float32(-1000), np.float32(1000))


def scan(shape: tuple[int, int, int], order: Sequence[int]) -> NDArray[np.float32]:
    """Return an image whose axes lie in memory in `order`."""
    draw = np.random.default_rng(0).integers(-1500, 1500, [shape[axis] for axis in order]).astype(np.float32)
    return draw.transpose(np.argsort(order))


def plain(image: NDArray[np.float32], axes: Sequence[GridAxis]) -> NDArray[np.float16]:
    """Return the new grid as NumPy computes it: one axis after the other, from the largest stride to the smallest."""
    out = scaled(image, Preparation())
    for axis in sorted(range(3), key=lambda axis: -image.strides[axis]):
        index, weight = axes[axis].index, axes[axis].weight
        if weight.shape[1] > 1:
            share = [each.reshape([-1 if other == axis else 1 for other in range(3)]) for each in weight.T]
            parts = [out.take(index[:, term], axis=axis) * share[term] for term in range(weight.shape[1])]
            out = sum(parts[1:], start=parts[0])
    return np.clip(out, 0, 1).astype(np.float16)


def turned(array: NDArray[np.generic], turn: AxisTurn) -> NDArray[np.generic]:
    return apply_orientation(array, turn)


@pytest.mark.parametrize("settings", GRIDS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(40, 33, 150), (31, 70, 1), (5, 1, 1)])
def test_an_image_is_the_same_to_the_last_bit(
    shape: tuple[int, int, int], order: Sequence[int], settings: dict[str, object]
) -> None:
    image, affine = scan(shape, order), np.diag([-0.7, 0.8, 2.5, 1])
    preparation = Preparation.model_validate(settings)
    for code in ("LAS", "RAS", "PIR", "IAL"):
        turn = turn_to(code, affine)
        axes = new_axes(shape, affine, preparation, turn)
        found = filled(image, axes, WINDOW, turn)
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found.view(np.uint16), turned(plain(image, axes), turn).view(np.uint16))
        label = (np.abs(image) % 7).astype(np.uint8)
        nearest = label[np.ix_(*(axis.nearest for axis in axes))]
        np.testing.assert_array_equal(picked(label, axes, turn), turned(nearest, turn))


def test_a_deep_scan_is_computed_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    image, affine = scan((20, 30, 70), (2, 1, 0)), np.diag([1, 1, 1.5, 1])
    turn = turn_to("RAS", affine)
    axes = new_axes(image.shape, affine, Preparation(spacing=(1.2, 0.9, 1)), turn)
    whole = filled(image, axes, WINDOW, turn)
    for block, cached in ((16, 2**17), (128, 2**9), (1, 2**17)):
        monkeypatch.setattr("sg_bench.data.grids._BLOCK", block)
        monkeypatch.setattr("sg_bench.data.grids._CACHED", cached)
        np.testing.assert_array_equal(filled(image, axes, WINDOW, turn), whole)


def test_interpolation_is_scipys_linear_one() -> None:
    smooth = ndimage.gaussian_filter(scan((40, 50, 30), (2, 1, 0)), 2) * 20
    affine = np.diag([0.7, 0.7, 2.5, 1])
    found = prepare(Study(smooth, affine), Preparation(spacing=(1, 1, 1)))
    at = np.linalg.inv(affine) @ found.affine
    steps, first = np.diag(at)[:3], at[:3, 3]
    ranges = (
        start + step * np.arange(count) for start, step, count in zip(first, steps, found.image.shape, strict=True)
    )
    points = np.meshgrid(*ranges, indexing="ij")
    wanted = ndimage.map_coordinates(scaled(smooth, Preparation()), points, order=1, mode="nearest")
    np.testing.assert_allclose(found.image, wanted, atol=5e-4)


def test_half_precision_is_rounded_as_numpy_does() -> None:
    """All halves in [0, 1], the values between them, and their neighbours in single precision."""
    halves = np.arange(15361, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[1:] + halves[:-1]) / 2
    values = np.concatenate(
        [halves, between, np.nextafter(between, np.float32(0)), np.nextafter(between, np.float32(1))]
    )
    image = values.reshape(1, 1, -1)
    axes = new_axes(image.shape, np.eye(4), Preparation(), turn_to("RAS", np.eye(4)))
    found = filled(image, axes, (np.float32(0), np.float32(1)), turn_to("RAS", np.eye(4)))
    np.testing.assert_array_equal(found.view(np.uint16), image.astype(np.float16).view(np.uint16))


def test_the_loops_release_the_gil() -> None:
    assert resample.targetoptions["nogil"]  # type: ignore[attr-defined]
